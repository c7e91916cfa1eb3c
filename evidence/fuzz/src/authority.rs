//! A CA and an EK with fixed keys, so that an altered certificate can be signed again: the fuzzer
//! then sees what comes after a signature check.

use std::sync::LazyLock;

use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevocationReason, RevokedCertParams, SerialNumber, SignatureAlgorithm,
};

/// `ecdsa-with-SHA256` (RFC 5758 §3.2) as an AlgorithmIdentifier.
const ECDSA_SHA256: [u8; 12] = [
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];

/// The one key of root and intermediates.
static CA_KEY: LazyLock<EcdsaKeyPair> = LazyLock::new(|| key(7));
/// The EK's SubjectPublicKeyInfo.
pub static EK: LazyLock<Vec<u8>> = LazyLock::new(|| spki(8));
/// The root, self-signed, DER.
pub static ROOT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let params = ca("Root");
    params.self_signed(&signing_key()).unwrap().der().to_vec()
});

/// An intermediate of that name with the CA's key, DER.
pub fn intermediate(name: &str) -> Vec<u8> {
    let issuer_params = ca("Root");
    let issuer = Issuer::from_params(&issuer_params, signing_key());
    let params = ca(name);
    params
        .signed_by(&signing_key(), &issuer)
        .unwrap()
        .der()
        .to_vec()
}

/// An EK certificate issued by the CA of that name, DER.
pub fn ek_certificate(issuer: &str) -> Vec<u8> {
    let issuer_params = ca(issuer);
    let issuer = Issuer::from_params(&issuer_params, signing_key());
    let mut params = named("host");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])];
    params.custom_extensions = vec![tpm_name()];
    params.signed_by(&Ek, &issuer).unwrap().der().to_vec()
}

/// A revocation list of the root, DER, that holds from 2021 to 2040 and names these certificates' serial
/// numbers.
pub fn revocation_list(number: u64, serials: &[Vec<u8>]) -> Vec<u8> {
    let issuer_params = ca("Root");
    let issuer = Issuer::from_params(&issuer_params, signing_key());
    let revoked = serials.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(serial.clone()),
        revocation_time: rcgen::date_time_ymd(2021, 1, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2021, 1, 1),
        next_update: rcgen::date_time_ymd(2040, 1, 1),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).unwrap().der().to_vec()
}

/// A platform certificate by the root as OEM, for the machine with this EK certificate, until that second.
pub fn platform_certificate(ek_certificate: &[u8], serial: &str, until: &str) -> Vec<u8> {
    let names = |name: &[u8]| tlv(0x30, &tlv(0xa4, name));
    let id = [
        names(field(ek_certificate, 3)),
        field(ek_certificate, 1).to_vec(),
    ]
    .concat();
    let validity = ["20200101000000Z", until].map(|time| tlv(0x18, time.as_bytes()));
    let name = [(1, "Maker"), (4, "R1"), (6, serial)].map(|(number, text)| {
        let oid = tlv(0x06, &[0x67, 0x81, 0x05, 0x05, 0x01, number]);
        let attribute = [oid, tlv(0x0c, text.as_bytes())].concat();
        tlv(0x31, &tlv(0x30, &attribute))
    });
    let alt_name = tlv(0x04, &names(&tlv(0x30, &name.concat())));
    let extension = [tlv(0x06, &[0x55, 0x1d, 0x11]), alt_name].concat();
    let parts = [
        tlv(0x02, &[1]),
        tlv(0x30, &tlv(0xa0, &id)),
        tlv(0xa0, &names(field(&ROOT, 5))),
        ECDSA_SHA256.to_vec(),
        tlv(0x02, &[7]),
        tlv(0x30, &validity.concat()),
        tlv(0x30, &[]),
        tlv(0x30, &tlv(0x30, &extension)),
    ];
    let unsigned = tlv(0x30, &tlv(0x30, &parts.concat()));
    sign_again(&unsigned).unwrap()
}

/// One element of a certificate's signed part, counting from 0, the version (RFC 5280 §4.1).
fn field(certificate: &[u8], number: usize) -> &[u8] {
    let (_, content, _) = element(certificate).unwrap();
    let (_, mut rest, _) = element(content).unwrap();
    for _ in 0..number {
        (_, _, rest) = element(rest).unwrap();
    }
    element(rest).unwrap().0
}

/// The certificate's signed part under a new, valid signature; `None` if no such part is there.
pub fn sign_again(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, content, _) = element(certificate)?;
    let (tbs, _, _) = element(content)?;
    let signature = CA_KEY.sign(&SystemRandom::new(), tbs).ok()?;
    let bits = [&[0], signature.as_ref()].concat();
    Some(tlv(0x30, &[tbs, &ECDSA_SHA256, &tlv(0x03, &bits)].concat()))
}

/// A certificate as text.
pub fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .flat_map(std::str::from_utf8)
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// A P-256 key made of one byte.
fn key(secret: u8) -> EcdsaKeyPair {
    let (private, public) = ([secret; 32], point(secret));
    EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &private,
        &public,
    )
    .unwrap()
}

fn agreement_key(secret: u8) -> agreement::PublicKey {
    let key = PrivateKey::from_private_key(&agreement::ECDH_P256, &[secret; 32]).unwrap();
    key.compute_public_key().unwrap()
}

fn point(secret: u8) -> Vec<u8> {
    agreement_key(secret).as_ref().to_vec()
}

fn spki(secret: u8) -> Vec<u8> {
    let der: PublicKeyX509Der<'_> = agreement_key(secret).as_der().unwrap();
    der.as_ref().to_vec()
}

fn signing_key() -> KeyPair {
    KeyPair::try_from(CA_KEY.to_pkcs8v1().unwrap().as_ref()).unwrap()
}

struct Ek;

impl PublicKeyData for Ek {
    fn der_bytes(&self) -> &[u8] {
        static POINT: LazyLock<Vec<u8>> = LazyLock::new(|| point(8));
        &POINT
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn ca(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.use_authority_key_identifier_extension = true;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
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

/// One DER element.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
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

/// The first DER element: whole, its content, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (header, length) = match *der.get(1)? {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(*der.get(2)?)),
        0x82 => (
            4,
            usize::from(u16::from_be_bytes([*der.get(2)?, *der.get(3)?])),
        ),
        _ => return None,
    };
    let (whole, rest) = der.split_at_checked(header + length)?;
    Some((whole, &whole[header..], rest))
}
