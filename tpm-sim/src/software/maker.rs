//! The maker of software TPMs: a root of its own that certifies their EKs. Worth nothing: simulation only.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
    SignatureAlgorithm,
};
use touchstone_evidence::tpm::public::Public;

use super::{Error, Result};

/// The purpose of an EK certificate, tcg-kp-EKCertificate (TCG EK Credential Profile §3.2.16).
const EK_PURPOSE: [u64; 5] = [2, 23, 133, 8, 1];
/// Manufacturer, model and version of the TPM (2.23.133.2.1 to 3). The manufacturer is the one that swtpm
/// goes by, so that nobody takes these for hardware.
const TPM: [(u8, &str); 3] = [
    (1, "id:00001014"),
    (2, "touchstone-software"),
    (3, "id:20260001"),
];
/// SubjectAltName.
const ALT_NAME: [u64; 4] = [2, 5, 29, 17];

/// A TPM maker with a P-256 root.
pub struct Maker {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Maker {
    /// A maker of that name, with a new key.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn create(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = valid(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// Its root, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for an EK on P-256, DER.
    ///
    /// # Errors
    /// [`Error::Crypto`] if the EK is on no curve, [`Error::Certificate`].
    pub fn certify(&self, ek: &Public, serial: u64) -> Result<Vec<u8>> {
        let point = ek.key().point().ok_or(Error::Crypto("EK certificate"))?;
        let mut params = valid("host");
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        let purpose = ExtendedKeyUsagePurpose::Other(EK_PURPOSE.to_vec());
        params.extended_key_usages = vec![purpose];
        params.custom_extensions = vec![tpm_name()];
        let certificate = params.signed_by(&Subject(point), &self.issuer)?;
        Ok(certificate.der().to_vec())
    }
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("maker of software TPMs")
    }
}

/// An uncompressed point of P-256.
struct Subject(Vec<u8>);

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// For decades: what these TPMs show is not that a certificate is of this time.
fn valid(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2060, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A directoryName with the attributes of [`TPM`].
fn tpm_name() -> CustomExtension {
    let attributes = TPM.map(|(number, text)| {
        let oid = tlv(0x06, &[0x67, 0x81, 0x05, 0x02, number]);
        let attribute = [oid, tlv(0x0c, text.as_bytes())].concat();
        tlv(0x31, &tlv(0x30, &attribute))
    });
    let name = tlv(0x30, &attributes.concat());
    CustomExtension::from_oid_content(&ALT_NAME, tlv(0x30, &tlv(0xa4, &name)))
}

/// A DER element of at most 255 bytes: all here are shorter.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    match length {
        0..=0x7f => [&[tag, length], content].concat(),
        _ => [&[tag, 0x81, length], content].concat(),
    }
}
