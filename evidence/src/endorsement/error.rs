//! Every way in which an EK certificate can be refused, each with a stable code.

use x509_parser::time::ASN1Time;

use super::certificate::CertificateError;
use super::tpm_name::{ManufacturerId, TpmNameError};

/// Why an endorsement was refused. Names of certificates are shown escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndorsementError {
    /// A certificate cannot be parsed.
    #[error("{which} cannot be parsed")]
    Malformed {
        /// `the EK certificate`, or `intermediate N` counting from 1.
        which: String,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// More intermediates were offered than any chain needs.
    #[error("{0} intermediates were offered")]
    TooManyIntermediates(usize),
    /// A critical extension is not understood, so the certificate must not be used.
    #[error("`{subject}` has the unknown critical extension {oid}")]
    UnknownCriticalExtension {
        /// The certificate.
        subject: String,
        /// The extension.
        oid: String,
    },
    /// A certificate of the path is not valid yet.
    #[error("`{subject}` is not valid before {}", moment(.not_before))]
    NotYetValid {
        /// The certificate.
        subject: String,
        /// Unix seconds.
        not_before: i64,
    },
    /// A certificate of the path is no longer valid.
    #[error("`{subject}` expired at {}", moment(.not_after))]
    Expired {
        /// The certificate.
        subject: String,
        /// Unix seconds.
        not_after: i64,
    },
    /// The EK certificate says that it is a CA's.
    #[error("the EK certificate is marked as a CA's")]
    LeafIsCa,
    /// The EK certificate's key usage lets it sign certificates or lists.
    #[error("the EK certificate's key usage lets it sign certificates or revocation lists")]
    LeafMaySign,
    /// The EK certificate is not for the purpose of being one (2.23.133.8.1).
    #[error("the EK certificate lacks the purpose 2.23.133.8.1")]
    NotAnEk,
    /// The subject alternative name holds none of the TPM attributes.
    #[error("the EK certificate names no TPM in its subject alternative name")]
    TpmNameMissing,
    /// The TPM attributes are malformed.
    #[error("the EK certificate's TPM name is malformed")]
    TpmName(#[from] TpmNameError),
    /// The subject is empty, and the alternative name not critical (RFC 5280 §4.2.1.6).
    #[error("the subject is empty, and the subject alternative name not critical")]
    AltNameNotCritical,
    /// The key to compare with is no canonical SubjectPublicKeyInfo. The caller's fault.
    #[error("the TPM's EK is no rsaEncryption or id-ecPublicKey SubjectPublicKeyInfo")]
    EkPublicMalformed,
    /// The certificate is for another key than the TPM's.
    #[error("the certificate is for another key than the TPM's EK")]
    KeyMismatch,
    /// An RSA key is too short.
    #[error("the RSA key of `{subject}` has {bits} bits")]
    WeakRsa {
        /// The certificate.
        subject: String,
        /// Length of its modulus.
        bits: usize,
    },
    /// A key is of an unknown kind.
    #[error("the key of `{subject}` is unsupported: {algorithm}")]
    UnsupportedKey {
        /// The certificate.
        subject: String,
        /// Its algorithm.
        algorithm: String,
    },
    /// The path ends at a self-issued certificate that is no imported root.
    #[error("`{subject}` is no imported root")]
    UnknownRoot {
        /// The certificate.
        subject: String,
    },
    /// Nobody knows a certificate of this issuer: either an intermediate is missing, or the CA is
    /// unknown. From the certificate alone the two cannot be told apart.
    #[error("there is no certificate of the issuer `{issuer}` of `{subject}`")]
    IssuerMissing {
        /// The certificate that the path got to.
        subject: String,
        /// Its issuer.
        issuer: String,
    },
    /// The only issuers of a certificate are among those that it issued.
    #[error("the certificates above `{subject}` certify each other")]
    Loop {
        /// The certificate that the path got to.
        subject: String,
    },
    /// The path is longer than any real one.
    #[error("no root within {0} certificates above the EK certificate")]
    TooDeep(usize),
    /// Too many signatures had to be checked.
    #[error("no path was found within {0} signature checks")]
    TooCostly(u32),
    /// An issuer's certificate is not marked as a CA's.
    #[error("`{subject}` issued a certificate and is no CA")]
    IssuerNotCa {
        /// The issuer.
        subject: String,
    },
    /// An issuer's key usage does not let it sign certificates.
    #[error("`{subject}` may not sign certificates")]
    IssuerMayNotSign {
        /// The issuer.
        subject: String,
    },
    /// An issuer's purposes do not include EK certificates.
    #[error("`{subject}` may not issue EK certificates")]
    IssuerPurpose {
        /// The issuer.
        subject: String,
    },
    /// An issuer allows fewer CAs below it than there are.
    #[error("`{subject}` allows {allowed} CAs below it")]
    PathLength {
        /// The issuer.
        subject: String,
        /// Its path length constraint.
        allowed: u32,
    },
    /// A signature is made with SHA-1.
    #[error("`{subject}` is signed with SHA-1")]
    Sha1Signature {
        /// The certificate signed.
        subject: String,
    },
    /// A signature's algorithm is not known.
    #[error("`{subject}` is signed with the unsupported algorithm {algorithm}")]
    UnsupportedSignature {
        /// The certificate signed.
        subject: String,
        /// Its algorithm.
        algorithm: String,
    },
    /// A signature does not verify under the issuer's key.
    #[error("the signature on `{subject}` is not by `{issuer}`")]
    BadSignature {
        /// The certificate signed.
        subject: String,
        /// The would-be issuer.
        issuer: String,
    },
    /// The EK's RSA modulus bears the mark of ROCA (CVE-2017-15361): whoever has it can find the
    /// private key.
    #[error(
        "the EK's RSA key is one of a faulty generator (ROCA, CVE-2017-15361): update the TPM's firmware and have it make a new EK"
    )]
    Roca,
    /// A revocation list of the issuer names the EK certificate.
    #[error("`{issuer}` revoked the EK certificate")]
    Revoked {
        /// The issuer.
        issuer: String,
    },
    /// A revocation list names a CA of the path.
    #[error("`{issuer}` revoked the certificate of `{subject}`")]
    IssuerRevoked {
        /// The CA.
        subject: String,
        /// Who issued, and revoked, its certificate.
        issuer: String,
    },
    /// The issuer's imported revocation list is not of this time: a revocation may be missing.
    #[error(
        "the revocation list of `{issuer}` held until {}: import its next one with `touchstone endorsement import`",
        moment(.next_update)
    )]
    StaleList {
        /// The issuer.
        issuer: String,
        /// Unix seconds.
        next_update: i64,
    },
    /// The root may not vouch for TPMs of this manufacturer.
    #[error("`{root}` may not vouch for TPMs of {manufacturer}")]
    NotVouched {
        /// The root.
        root: String,
        /// The TPM's manufacturer.
        manufacturer: ManufacturerId,
    },
}

impl EndorsementError {
    /// The CA whose certificate is missing, for people, where that is why: the root was not imported,
    /// or an intermediate is not known.
    #[must_use]
    pub fn missing_authority(&self) -> Option<&str> {
        match self {
            Self::UnknownRoot { subject } => Some(subject),
            Self::IssuerMissing { issuer, .. } => Some(issuer),
            _ => None,
        }
    }

    /// A name for this refusal that does not change between releases.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "ek-certificate-malformed",
            Self::TooManyIntermediates(_) => "ek-too-many-intermediates",
            Self::UnknownCriticalExtension { .. } => "ek-unknown-critical-extension",
            Self::NotYetValid { .. } => "ek-certificate-not-yet-valid",
            Self::Expired { .. } => "ek-certificate-expired",
            Self::LeafIsCa => "ek-certificate-is-ca",
            Self::LeafMaySign => "ek-certificate-may-sign",
            Self::NotAnEk => "ek-certificate-purpose",
            Self::TpmNameMissing => "ek-tpm-name-missing",
            Self::TpmName(_) => "ek-tpm-name-malformed",
            Self::AltNameNotCritical => "ek-alt-name-not-critical",
            Self::EkPublicMalformed => "ek-public-malformed",
            Self::KeyMismatch => "ek-key-mismatch",
            Self::WeakRsa { .. } => "ek-weak-rsa",
            Self::UnsupportedKey { .. } => "ek-unsupported-key",
            Self::UnknownRoot { .. } => "ek-unknown-root",
            Self::IssuerMissing { .. } => "ek-issuer-missing",
            Self::Loop { .. } => "ek-chain-loop",
            Self::TooDeep(_) => "ek-chain-too-deep",
            Self::TooCostly(_) => "ek-chain-too-costly",
            Self::IssuerNotCa { .. } => "ek-issuer-not-ca",
            Self::IssuerMayNotSign { .. } => "ek-issuer-may-not-sign",
            Self::IssuerPurpose { .. } => "ek-issuer-purpose",
            Self::PathLength { .. } => "ek-path-length",
            Self::Sha1Signature { .. } => "ek-sha1-signature",
            Self::UnsupportedSignature { .. } => "ek-unsupported-signature",
            Self::BadSignature { .. } => "ek-bad-signature",
            Self::Roca => "ek-roca-weak",
            Self::Revoked { .. } => "ek-certificate-revoked",
            Self::IssuerRevoked { .. } => "ek-issuer-revoked",
            Self::StaleList { .. } => "ek-crl-stale",
            Self::NotVouched { .. } => "ek-manufacturer-not-vouched",
        }
    }
}

/// Unix seconds as people read time (RFC 3339, UTC).
fn moment(seconds: &i64) -> String {
    let Ok(time) = ASN1Time::from_timestamp(*seconds) else {
        return seconds.to_string();
    };
    let time = time.to_datetime();
    let (hour, minute, second) = time.to_hms();
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_read_them() {
        assert_eq!(moment(&1_795_294_440), "2026-11-21T20:54:00Z");
        assert_eq!(moment(&-1), "1969-12-31T23:59:59Z");
        assert_eq!(moment(&i64::MAX), i64::MAX.to_string());
    }
}
