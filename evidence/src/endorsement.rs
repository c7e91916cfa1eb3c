//! EK certificate paths: whether a TPM maker, a cloud or a simulator vouches that this EK lives in
//! one of its TPMs (RFC 5280 §6, TCG EK Credential Profile), lenient where real vendors need it.
//!
//! Invariant: a path proves a genuine TPM, never our machine: the inventory decides that. Revocation
//! is known only from lists that an operator imported.

mod bundle;
mod certificate;
mod crl;
mod error;
mod leaf;
mod name;
mod path;
mod platform_certificate;
mod public_key;
mod roca;
mod roots;
mod tpm_name;

use serde::{Deserialize, Serialize};

pub use bundle::Bundle;
pub use certificate::CertificateError;
pub use crl::{KnownList, RevocationListError};
pub use error::EndorsementError;
pub use platform_certificate::{
    Oem, OemError, PLATFORM_CERTIFICATE_MAX, PlatformCertificate, PlatformCertificateError,
    PlatformName, VerifiedPlatform,
};
pub use roca::bears_roca_mark;
pub use roots::{AddedList, Anchor, EndorsementRoots, Imported, KnownCertificate, RootImportError};
pub use tpm_name::{ManufacturerId, TpmName, TpmNameError};

use crate::digest::Sha256Digest;

/// What kind of TPM a root vouches for. A claim of the operator who imported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootClass {
    /// Discrete and firmware TPMs in hardware.
    Manufacturer,
    /// A cloud provider's virtual TPMs.
    Cloud,
    /// Software TPMs for development: never worth more than a test.
    Simulator,
}

/// Proof that a certificate path leads from an imported root to this very EK, at the time it was
/// verified. Made only by [`EndorsementRoots::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEndorsement {
    class: RootClass,
    tpm: tpm_name::TpmName,
    ek_digest: Sha256Digest,
    certificate_digest: Sha256Digest,
    certificate_subject: String,
    certificate_serial: Vec<u8>,
    root_key_digest: Sha256Digest,
    valid_until: Option<i64>,
    path: Vec<PathCertificate>,
}

/// One certificate of a verified path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathCertificate {
    /// Whose it is: escaped and cut, for people; empty where only the alternative name says.
    pub subject: String,
    /// SHA-256 of the certificate.
    pub digest: Sha256Digest,
    /// First second of its validity, Unix time.
    pub not_before: i64,
    /// Last second of its validity; `None`: it never expires.
    pub not_after: Option<i64>,
}

impl VerifiedEndorsement {
    /// The class of the root that the path ends at.
    #[must_use]
    pub fn class(&self) -> RootClass {
        self.class
    }

    /// What the certificate says of the TPM.
    #[must_use]
    pub fn tpm(&self) -> &TpmName {
        &self.tpm
    }

    /// The TPM's manufacturer, which the root may vouch for.
    #[must_use]
    pub fn manufacturer(&self) -> ManufacturerId {
        self.tpm.manufacturer
    }

    /// The TPM's model, in the manufacturer's words.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.tpm.model
    }

    /// The TPM's firmware version when it was certified, in the manufacturer's words; usually
    /// `id:` and hexadecimal digits.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.tpm.version
    }

    /// SHA-256 of the EK's DER SubjectPublicKeyInfo: its name in the inventory.
    #[must_use]
    pub fn ek_digest(&self) -> Sha256Digest {
        self.ek_digest
    }

    /// SHA-256 of the EK certificate, without padding after it: the fingerprint that other tools
    /// show. No identity: the bytes around the signed part can be altered without harm to it.
    #[must_use]
    pub fn certificate_digest(&self) -> Sha256Digest {
        self.certificate_digest
    }

    /// The certificate's subject, for people: escaped and cut, empty where the certificate has none.
    #[must_use]
    pub fn certificate_subject(&self) -> &str {
        &self.certificate_subject
    }

    /// The certificate's serial number, hexadecimal, cut to 32 bytes (RFC 5280 §4.1.2.2 allows 20).
    #[must_use]
    pub fn certificate_serial(&self) -> String {
        let digits = self.certificate_serial.iter().take(32);
        digits.map(|byte| format!("{byte:02x}")).collect()
    }

    /// SHA-256 of the root's DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn root_key_digest(&self) -> Sha256Digest {
        self.root_key_digest
    }

    /// The last second, in Unix time, at which every certificate of the path is valid; `None` if
    /// none of them ever expires.
    #[must_use]
    pub fn valid_until(&self) -> Option<i64> {
        self.valid_until
    }

    /// Every certificate from that of the EK up to the root.
    #[must_use]
    pub fn path(&self) -> &[PathCertificate] {
        &self.path
    }
}

/// Whether a certificate, DER, is for the key of this SubjectPublicKeyInfo, however either encodes it.
/// Nobody's word is checked: [`EndorsementRoots::verify`] does that.
#[must_use]
pub fn is_for_key(certificate: &[u8], spki: &[u8]) -> bool {
    let certified = certificate::Certificate::parse(certificate).map(|parsed| parsed.key);
    let key = public_key::PublicKey::of_canonical(spki);
    matches!((certified, key), (Ok(certified), Some(key)) if certified == key)
}

/// The SubjectPublicKeyInfo of the key in a certificate, DER, as [`Public`](crate::tpm::public::Public) gives that
/// of a TPM's key: rsaEncryption, whatever the certificate calls it (RFC 4055 §4). `None`: it is no certificate,
/// or of a key that no EK can be. Nobody's word is checked.
#[must_use]
pub fn certified_key(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = certificate::Certificate::parse(certificate).ok()?;
    parsed.key.canonical()
}

#[cfg(test)]
mod tests;
