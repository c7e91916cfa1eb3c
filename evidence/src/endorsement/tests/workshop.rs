//! Test material: CAs and EK certificates made to order.

use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, PublicKeyData, RevocationReason, RevokedCertParams, SerialNumber,
    SignatureAlgorithm,
};

use super::certificate::Certificate;
use super::{Bundle, EndorsementRoots, RootClass};

/// 2026-01-01T00:00:00Z, inside the validity of what is made here.
pub(super) const NOW: i64 = 1_767_225_600;
/// 2020-01-01T00:00:00Z
pub(super) const NOT_BEFORE: i64 = 1_577_836_800;
/// 2040-01-01T00:00:00Z
pub(super) const NOT_AFTER: i64 = 2_208_988_800;
/// No intermediates.
pub(super) const NONE: [&[u8]; 0] = [];
/// 1.2.840.113549.1.1.1
pub(super) const RSA_ENCRYPTION: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// A CA, with what it signs by.
pub(super) struct Ca {
    pub(super) der: Vec<u8>,
    params: CertificateParams,
    key: KeyPair,
}

/// An EK certificate and the key as the TPM would give it.
pub(super) struct Ek {
    pub(super) certificate: Vec<u8>,
    pub(super) spki: Vec<u8>,
}

impl Ca {
    pub(super) fn root(name: &str) -> Self {
        Self::root_with(name, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(super) fn root_with(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        Self::self_signed(ca(name), algorithm)
    }

    pub(super) fn self_signed(
        params: CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { der, params, key }
    }

    /// A CA below this one.
    pub(super) fn issue(&self, params: CertificateParams) -> Self {
        Self::of_certificate(self, params)
    }

    /// Whatever `params` say, with a key that can be made to sign.
    pub(super) fn of_certificate(issuer: &Self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = issuer.sign(&params, &key);
        Self { der, params, key }
    }

    /// Another CA's name and key, certified by this one.
    pub(super) fn certify(&self, other: &Self) -> Self {
        Self {
            der: self.sign(&other.params, &other.key),
            params: other.params.clone(),
            key: clone(&other.key),
        }
    }

    /// This CA's key, signing as somebody of that name; the key identifier stays.
    pub(super) fn under_the_name(&self, name: DnValue) -> Self {
        let mut renamed = self.certify(self);
        renamed.params.distinguished_name = common_name(name);
        renamed
    }

    /// This CA, signing with a wrong authority key identifier.
    pub(super) fn with_key_identifier(&self, id: Vec<u8>) -> Self {
        let mut mistaken = self.certify(self);
        mistaken.params.key_identifier_method = KeyIdMethod::PreSpecified(id);
        mistaken
    }

    /// An EK certificate for a fresh P-256 key.
    pub(super) fn endorse(&self, params: CertificateParams) -> Ek {
        let key = KeyPair::generate().unwrap();
        Ek {
            certificate: self.sign(&params, &key),
            spki: key.subject_public_key_info(),
        }
    }

    /// A certificate for an RSA key with a modulus of so many bytes, that nobody holds, and the
    /// key's SubjectPublicKeyInfo.
    pub(super) fn certify_rsa(
        &self,
        length: usize,
        params: CertificateParams,
    ) -> (Vec<u8>, Vec<u8>) {
        self.certify_modulus(&vec![0xc5; length], params)
    }

    /// The same for a modulus of one's own.
    pub(super) fn certify_modulus(
        &self,
        modulus: &[u8],
        params: CertificateParams,
    ) -> (Vec<u8>, Vec<u8>) {
        let modulus = [&[0], modulus].concat();
        let key = RsaPublic(tlv(
            0x30,
            &[tlv(0x02, &modulus), tlv(0x02, &[1, 0, 1])].concat(),
        ));
        (self.sign(&params, &key), key.subject_public_key_info())
    }

    /// This root's name and key with other key usages, self-signed anew.
    pub(super) fn with_usages(&self, usages: &[KeyUsagePurpose]) -> Self {
        let mut other = self.certify(self);
        other.params.key_usages = usages.to_vec();
        other.der = other.params.self_signed(&other.key).unwrap().der().to_vec();
        other
    }

    /// A revocation list by this CA that holds in `years` and names the certificates given.
    pub(super) fn revoke(
        &self,
        number: u64,
        years: std::ops::Range<i32>,
        revoked: &[&[u8]],
    ) -> Vec<u8> {
        self.list(&list_params(number, years, revoked))
    }

    /// A revocation list that says what `params` say.
    pub(super) fn list(&self, params: &CertificateRevocationListParams) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(&issuer).unwrap().der().to_vec()
    }

    /// A signature over bytes of one's own.
    pub(super) fn sign_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        rcgen::SigningKey::sign(&self.key, bytes).unwrap()
    }

    pub(super) fn pem(&self) -> String {
        Bundle::pem_block("CERTIFICATE", &self.der)
    }

    fn sign(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(key, &issuer).unwrap().der().to_vec()
    }
}

pub(super) fn list_params(
    number: u64,
    years: std::ops::Range<i32>,
    revoked: &[&[u8]],
) -> CertificateRevocationListParams {
    let serial = |der: &&[u8]| Certificate::parse(der).unwrap().serial;
    let revoked = revoked.iter().map(|der| RevokedCertParams {
        serial_number: SerialNumber::from(serial(der)),
        revocation_time: rcgen::date_time_ymd(2021, 1, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(years.start, 1, 1),
        next_update: rcgen::date_time_ymd(years.end, 1, 1),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

struct RsaPublic(Vec<u8>);

impl PublicKeyData for RsaPublic {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// The given roots, of class manufacturer, for every manufacturer.
pub(super) fn roots(cas: &[&Ca]) -> EndorsementRoots {
    let mut roots = EndorsementRoots::new();
    for ca in cas {
        roots
            .add_pem(ca.pem().as_bytes(), RootClass::Manufacturer, &[])
            .unwrap();
    }
    roots
}

/// A root and an EK under it, made once.
pub(super) fn fixture() -> &'static (Ca, Ek) {
    static FIXTURE: OnceLock<(Ca, Ek)> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let root = Ca::root("Root");
        let ek = root.endorse(leaf());
        (root, ek)
    })
}

/// What a CA's certificate says.
pub(super) fn ca(name: &str) -> CertificateParams {
    let mut params = valid(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What an EK certificate says.
pub(super) fn leaf() -> CertificateParams {
    let mut params = valid("host");
    params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    params.extended_key_usages = vec![ek_purpose()];
    params.custom_extensions = vec![alt_name(&[
        (1, "id:00001014"),
        (2, "swtpm"),
        (3, "id:20191023"),
    ])];
    params
}

pub(super) fn ek_purpose() -> ExtendedKeyUsagePurpose {
    ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])
}

/// A subject alternative name with these TPM attributes (2.23.133.2.n), not critical.
pub(super) fn alt_name(attributes: &[(u8, &str)]) -> CustomExtension {
    let rdns = attributes.iter().map(|(number, text)| {
        let oid = tlv(0x06, &[0x67, 0x81, 0x05, 0x02, *number]);
        let attribute = [oid, tlv(0x0c, text.as_bytes())].concat();
        tlv(0x31, &tlv(0x30, &attribute))
    });
    let name = tlv(0x30, &rdns.collect::<Vec<_>>().concat());
    CustomExtension::from_oid_content(&[2, 5, 29, 17], tlv(0x30, &tlv(0xa4, &name)))
}

pub(super) fn printable(text: &str) -> DnValue {
    DnValue::PrintableString(text.try_into().unwrap())
}

/// One DER element.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut element = vec![tag];
    if content.len() >= 0x80 {
        element.push(0x80 | length.len() as u8);
    } else if content.is_empty() {
        element.push(0);
    }
    element.extend_from_slice(length);
    element.extend_from_slice(content);
    element
}

fn valid(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params.distinguished_name = common_name(name.into());
    params.use_authority_key_identifier_extension = true;
    params
}

fn common_name(name: DnValue) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn clone(key: &KeyPair) -> KeyPair {
    KeyPair::from_pem_and_sign_algo(&key.serialize_pem(), key.algorithm()).unwrap()
}
