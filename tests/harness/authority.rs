//! A TPM maker's CA in our own hands: it certifies endorsement keys of real simulated TPMs, with whatever
//! a test wants, and revokes.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use touchstone_evidence::endorsement::Bundle;
use touchstone_evidence::tpm::public::Public;

/// A CA.
pub struct Ca {
    params: CertificateParams,
    key: KeyPair,
    /// Its certificate, DER.
    pub der: Vec<u8>,
}

impl Ca {
    /// A root of that name.
    #[must_use]
    pub fn root(name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { params, key, der }
    }

    /// A CA below this one.
    #[must_use]
    pub fn issue(&self, name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let der = params.signed_by(&key, &self.issuer()).unwrap();
        let der = der.der().to_vec();
        Self { params, key, der }
    }

    /// An EK certificate for a TPM's key, `TPMT_PUBLIC`, with that serial number.
    #[must_use]
    pub fn endorse(&self, ek_public: &[u8], serial: u64) -> Vec<u8> {
        let spki = Public::parse(ek_public).unwrap().subject_public_key_info();
        let mut params = valid("host");
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        let purpose = ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1]);
        params.extended_key_usages = vec![purpose];
        params.custom_extensions = vec![tpm_name()];
        let certificate = params.signed_by(&Subject::of(&spki), &self.issuer());
        certificate.unwrap().der().to_vec()
    }

    /// A revocation list that holds until `next_update` (year), DER.
    #[must_use]
    pub fn revoke(&self, number: u64, next_update: i32, serials: &[u64]) -> Vec<u8> {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2021, 1, 1),
            next_update: rcgen::date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer()).unwrap().der().to_vec()
    }

    /// Its certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        Bundle::pem_block("CERTIFICATE", &self.der)
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// The key that a SubjectPublicKeyInfo holds.
struct Subject {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl Subject {
    fn of(spki: &[u8]) -> Self {
        let (_, content) = element(spki);
        let (algorithm, _) = element(content);
        // The BIT STRING after the algorithm, without its count of unused bits.
        let (_, bits) = element(&content[algorithm.len()..]);
        Self {
            bits: bits[1..].to_vec(),
            algorithm: match bits[1] {
                // A point begins with 4, an RSAPublicKey is a SEQUENCE.
                0x04 if bits.len() == 66 => &rcgen::PKCS_ECDSA_P256_SHA256,
                0x04 => &rcgen::PKCS_ECDSA_P384_SHA384,
                _ => &rcgen::PKCS_RSA_SHA256,
            },
        }
    }
}

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// The first DER element, and its content.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (header, length) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(der[2])),
        _ => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
    };
    (&der[..header + length], &der[header..header + length])
}

fn authority(name: &str) -> CertificateParams {
    let mut params = valid(name);
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn valid(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2060, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The subject alternative name of a TPM (2.23.133.2.1 to 3).
fn tpm_name() -> CustomExtension {
    let attributes = [(1, "id:00001014"), (2, "swtpm"), (3, "id:20191023")];
    let rdns = attributes.map(|(number, text)| {
        let oid = tlv(0x06, &[0x67, 0x81, 0x05, 0x02, number]);
        let attribute = [oid, tlv(0x0c, text.as_bytes())].concat();
        tlv(0x31, &tlv(0x30, &attribute))
    });
    let name = tlv(0x30, &rdns.concat());
    CustomExtension::from_oid_content(&[2, 5, 29, 17], tlv(0x30, &tlv(0xa4, &name)))
}

/// One DER element of less than 128 bytes.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}
