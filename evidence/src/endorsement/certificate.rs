//! X.509 certificates reduced to the facts that path validation asks about. Nothing is judged here:
//! every fact is a claim of whoever made the bytes.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;

use super::PathCertificate;
use super::name::{Name, show};
use super::public_key::{PublicKey, SignatureAlgorithm};
use super::tpm_name::{TpmName, TpmNameError};
use crate::digest::Sha256Digest;

/// Longest certificate accepted, in bytes. EK certificates have 1 to 2 KiB.
const MAX_CERTIFICATE: usize = 16 * 1024;

/// Most extensions in a certificate; real ones have about ten.
const MAX_EXTENSIONS: usize = 32;

/// 99991231235959Z, which stands for "never expires" (RFC 5280 §4.1.2.5).
const NEVER: i64 = 253_402_300_799;

/// The critical extensions that may be present. Policies are accepted without being evaluated: an
/// empty initial policy set asks for none, and one vendor intermediate in seven marks them critical.
const KNOWN_CRITICAL: [&str; 5] = [
    BASIC_CONSTRAINTS,
    KEY_USAGE,
    SUBJECT_ALT_NAME,
    CERTIFICATE_POLICIES,
    EXTENDED_KEY_USAGE,
];

const KEY_USAGE: &str = "2.5.29.15";
const SUBJECT_ALT_NAME: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const CERTIFICATE_POLICIES: &str = "2.5.29.32";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";

/// tcg-kp-EKCertificate (TCG EK Credential Profile).
pub(super) const EK_PURPOSE: &str = "2.23.133.8.1";

/// anyExtendedKeyUsage (RFC 5280 §4.2.1.12).
const ANY_PURPOSE: &str = "2.5.29.37.0";

/// Why bytes are no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// More bytes than any certificate has.
    #[error("{0} bytes: at most {MAX_CERTIFICATE} are allowed")]
    TooLong(usize),
    /// Not the DER of a certificate.
    #[error("not a DER certificate: {0}")]
    Der(String),
    /// The algorithm inside and outside the signed part differ (RFC 5280 §4.1.1.2).
    #[error("the signature algorithm outside the signed part is another than inside")]
    AlgorithmMismatch,
    /// More extensions than any certificate has.
    #[error("{0} extensions: at most {MAX_EXTENSIONS} are allowed")]
    TooManyExtensions(usize),
    /// An extension occurs twice (RFC 5280 §4.2).
    #[error("extension {0} occurs twice")]
    DuplicateExtension(String),
    /// An extension that decides about the certificate cannot be read.
    #[error("extension {0} cannot be read")]
    Extension(String),
}

/// A parsed certificate. Its signature has not been checked.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// SHA-256 of the certificate, without bytes that follow it.
    pub(super) digest: Sha256Digest,
    /// Without leading zeros: how revocation lists name it, beside its issuer.
    pub(super) serial: Vec<u8>,
    pub(super) subject: Name,
    pub(super) issuer: Name,
    pub(super) key: PublicKey,
    /// SHA-256 of the SubjectPublicKeyInfo as encoded.
    pub(super) key_digest: Sha256Digest,
    pub(super) signed_part: Vec<u8>,
    pub(super) signature_algorithm: SignatureAlgorithm,
    pub(super) signature: Vec<u8>,
    /// Unix seconds, inclusive.
    pub(super) not_before: i64,
    /// Unix seconds, inclusive; `None` for a certificate that never expires.
    pub(super) not_after: Option<i64>,
    pub(super) extensions: Extensions,
}

/// The extensions that path validation reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions {
    pub(super) is_ca: bool,
    pub(super) path_length: Option<u32>,
    /// `None` without the extension.
    pub(super) key_usage: Option<KeyUsage>,
    /// Dotted purposes; `None` without the extension.
    pub(super) purposes: Option<Vec<String>>,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    pub(super) tpm_name: Option<Result<TpmName, TpmNameError>>,
    pub(super) alt_name_is_critical: bool,
    /// The first critical extension that nobody here understands.
    pub(super) unknown_critical: Option<String>,
}

/// The key usages that matter for signing certificates and lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyUsage {
    pub(super) digital_signature: bool,
    pub(super) cert_sign: bool,
    pub(super) crl_sign: bool,
}

impl Certificate {
    /// Reads a certificate. Bytes after it are ignored, as some TPMs pad the NV index that holds
    /// it; they are not signed, and nothing is taken from them.
    pub(super) fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(CertificateError::TooLong(der.len()));
        }
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| CertificateError::Der(show(&error.to_string())))?;
        if certificate.signature_algorithm != certificate.tbs_certificate.signature {
            return Err(CertificateError::AlgorithmMismatch);
        }
        if certificate.signature_value.unused_bits != 0 {
            return Err(CertificateError::Der(
                "signature is not whole bytes".to_owned(),
            ));
        }
        let validity = certificate.validity();
        Ok(Self {
            digest: Sha256Digest::of(certificate.as_raw()),
            serial: integer(certificate.raw_serial()),
            subject: Name::of(certificate.subject()),
            issuer: Name::of(certificate.issuer()),
            key: PublicKey::of(certificate.public_key()),
            key_digest: Sha256Digest::of(certificate.public_key().raw),
            signed_part: certificate.tbs_certificate.as_ref().to_vec(),
            signature_algorithm: SignatureAlgorithm::of(&certificate.signature_algorithm),
            signature: certificate.signature_value.data.to_vec(),
            not_before: validity.not_before.timestamp(),
            not_after: Some(validity.not_after.timestamp()).filter(|end| *end < NEVER),
            extensions: Extensions::of(certificate.extensions())?,
        })
    }

    /// What people want to see of it.
    pub(super) fn summary(&self) -> PathCertificate {
        PathCertificate {
            subject: self.subject.to_string(),
            digest: self.digest,
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }

    /// Issuer and subject are one: not yet proof of a self-signature.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer.matches(&self.subject)
    }

    /// The same authority: same name, same key. Cross-signed certificates of it are equal here.
    pub(super) fn is_same_authority(&self, other: &Self) -> bool {
        self.key == other.key && self.subject.matches(&other.subject)
    }
}

/// The bytes of an INTEGER without those that say nothing, so that vendors' encodings compare equal.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default().to_vec()
}

impl Extensions {
    fn of(extensions: &[X509Extension<'_>]) -> Result<Self, CertificateError> {
        if extensions.len() > MAX_EXTENSIONS {
            return Err(CertificateError::TooManyExtensions(extensions.len()));
        }
        let mut seen = Vec::new();
        let mut facts = Self::default();
        for extension in extensions {
            let oid = extension.oid.to_id_string();
            if seen.contains(&oid) {
                return Err(CertificateError::DuplicateExtension(oid));
            }
            if extension.critical && !KNOWN_CRITICAL.contains(&oid.as_str()) {
                facts.unknown_critical.get_or_insert_with(|| oid.clone());
            }
            facts.note(&oid, extension)?;
            seen.push(oid);
        }
        Ok(facts)
    }

    fn note(&mut self, oid: &str, extension: &X509Extension<'_>) -> Result<(), CertificateError> {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => {
                self.is_ca = constraints.ca;
                self.path_length = constraints.path_len_constraint;
            }
            ParsedExtension::KeyUsage(usage) => {
                self.key_usage = Some(KeyUsage {
                    digital_signature: usage.digital_signature(),
                    cert_sign: usage.key_cert_sign(),
                    crl_sign: usage.crl_sign(),
                });
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let any = usage.any.then(|| ANY_PURPOSE.to_owned());
                let others = usage.other.iter().map(|purpose| purpose.to_id_string());
                self.purposes = Some(any.into_iter().chain(others).collect());
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                let directories = names.general_names.iter().filter_map(|name| match name {
                    GeneralName::DirectoryName(directory) => Some(directory),
                    _ => None,
                });
                self.tpm_name = TpmName::collect(directories);
                self.alt_name_is_critical = extension.critical;
            }
            ParsedExtension::SubjectKeyIdentifier(id) => {
                self.subject_key_id = Some(id.0.to_vec());
            }
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ if matches!(
                oid,
                BASIC_CONSTRAINTS | KEY_USAGE | EXTENDED_KEY_USAGE | SUBJECT_ALT_NAME
            ) =>
            {
                return Err(CertificateError::Extension(oid.to_owned()));
            }
            // Others say nothing about the path; unreadable key identifiers were only hints.
            _ => {}
        }
        Ok(())
    }

    /// Whether the purposes, if limited at all, include issuing or being an EK certificate.
    pub(super) fn may_endorse(&self) -> bool {
        self.purposes.as_ref().is_none_or(|purposes| {
            let allows = |purpose: &String| *purpose == EK_PURPOSE || *purpose == ANY_PURPOSE;
            purposes.iter().any(allows)
        })
    }
}
