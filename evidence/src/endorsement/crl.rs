//! Revocation lists (RFC 5280 §5), imported by an operator: nothing here fetches one.
//!
//! Invariant: a list speaks for the authority whose key signed it, and for no other. Indirect, delta
//! and partitioned lists are refused whole, since what they leave out would count as not revoked.

use std::collections::BTreeSet;

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};

use super::certificate::{Certificate, integer};
use super::name::{Name, show};
use super::path::{check_authority, check_key};
use super::public_key::{PublicKey, SignatureAlgorithm, SignatureFault};
use crate::digest::Sha256Digest;

/// Longest list accepted, in bytes: about 25,000 revoked certificates.
const MAX_LIST: usize = 1 << 20;

/// Most extensions of a list; real ones have two or three.
const MAX_EXTENSIONS: usize = 16;

/// Longest CRL number, in bytes (RFC 5280 §5.2.3).
const MAX_NUMBER: usize = 20;

/// Why bytes are no revocation list that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationListError {
    /// More bytes than any list has.
    #[error("{0} bytes: at most {MAX_LIST} are allowed")]
    TooLong(usize),
    /// Not the DER of a list, and nothing but it.
    #[error("not a DER revocation list: {0}")]
    Der(String),
    /// The algorithm inside and outside the signed part differ (RFC 5280 §5.1.1.2).
    #[error("the signature algorithm outside the signed part is another than inside")]
    AlgorithmMismatch,
    /// Too many extensions, or one that occurs twice.
    #[error("its extensions are too many, or one occurs twice")]
    Extensions,
    /// It does not say until when it holds, so nobody could tell that it is old.
    #[error("it has no next update, so it would never count as old")]
    NoNextUpdate,
    /// It speaks of a part of the certificates only, or of those of others.
    #[error(
        "it has the critical extension {0}: partitioned, delta and indirect lists are not used"
    )]
    Critical(String),
    /// Its number is not one to twenty bytes.
    #[error("its number is malformed")]
    Number,
}

/// A parsed list. Its signature has not been checked.
#[derive(Clone, Debug)]
pub(super) struct RevocationList {
    digest: Sha256Digest,
    issuer: Name,
    authority_key_id: Option<Vec<u8>>,
    signed_part: Vec<u8>,
    signature_algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    /// Unsigned, most significant byte first, without leading zeros; `None` without the extension.
    number: Option<Vec<u8>>,
    /// Unix seconds.
    this_update: i64,
    next_update: i64,
    /// Serial numbers, without leading zeros.
    revoked: BTreeSet<Vec<u8>>,
}

/// A list that an authority signed. What it says holds for every path through that authority.
#[derive(Clone, Debug)]
pub struct KnownList {
    list: RevocationList,
    issuer_key: PublicKey,
    issuer_key_digest: Sha256Digest,
}

/// Why a list is not by a certificate's authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListFault {
    /// The authority may not sign lists, or is none.
    MayNotSign,
    Sha1,
    Algorithm(String),
    Forged,
}

/// What a list says about one certificate at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Listed,
    NotListed,
    /// Not listed, but the list is not of this time; until when it held.
    Stale(i64),
}

impl RevocationList {
    /// Reads a list that is nothing else.
    pub(super) fn parse(der: &[u8]) -> Result<Self, RevocationListError> {
        if der.len() > MAX_LIST {
            return Err(RevocationListError::TooLong(der.len()));
        }
        let (rest, list) = CertificateRevocationList::from_der(der)
            .map_err(|error| RevocationListError::Der(show(&error.to_string())))?;
        if !rest.is_empty() || list.signature_value.unused_bits != 0 {
            return Err(RevocationListError::Der("bytes are left over".to_owned()));
        }
        if list.signature_algorithm != list.tbs_cert_list.signature {
            return Err(RevocationListError::AlgorithmMismatch);
        }
        let (authority_key_id, number) = read_extensions(&list)?;
        let next_update = list
            .next_update()
            .ok_or(RevocationListError::NoNextUpdate)?;
        let mut revoked = BTreeSet::new();
        for entry in list.iter_revoked_certificates() {
            check_entry(entry)?;
            revoked.insert(integer(entry.raw_serial()));
        }
        Ok(Self {
            digest: Sha256Digest::of(der),
            issuer: Name::of(list.issuer()),
            authority_key_id,
            signed_part: list.tbs_cert_list.as_ref().to_vec(),
            signature_algorithm: SignatureAlgorithm::of(&list.signature_algorithm),
            signature: list.signature_value.data.to_vec(),
            number,
            this_update: list.last_update().timestamp(),
            next_update: next_update.timestamp(),
            revoked,
        })
    }

    /// Whether a certificate may be that of the authority, by name or key identifier.
    pub(super) fn may_be_by(&self, authority: &Certificate) -> bool {
        let by_key = self.authority_key_id.is_some()
            && self.authority_key_id == authority.extensions.subject_key_id;
        self.issuer.matches(&authority.subject) || by_key
    }

    pub(super) fn issuer(&self) -> String {
        self.issuer.to_string()
    }

    /// Checks the signature with the key of `authority`, which must be a CA that may sign lists
    /// (RFC 5280 §6.3.3 f, g).
    pub(super) fn verify(&self, authority: &Certificate) -> Result<KnownList, ListFault> {
        let may_sign = authority
            .extensions
            .key_usage
            .is_none_or(|usage| usage.crl_sign);
        if !may_sign || check_authority(authority).is_err() || check_key(authority).is_err() {
            return Err(ListFault::MayNotSign);
        }
        authority
            .key
            .verify(
                &self.signature_algorithm,
                &self.signed_part,
                &self.signature,
            )
            .map_err(|fault| match fault {
                SignatureFault::Sha1 => ListFault::Sha1,
                SignatureFault::Algorithm(algorithm) => ListFault::Algorithm(algorithm),
                SignatureFault::Forged => ListFault::Forged,
            })?;
        Ok(KnownList {
            list: self.clone(),
            issuer_key: authority.key.clone(),
            issuer_key_digest: authority.key_digest,
        })
    }
}

impl KnownList {
    /// The authority's name, for people: escaped and cut.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.list.issuer()
    }

    /// SHA-256 of the authority's DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn issuer_key_digest(&self) -> Sha256Digest {
        self.issuer_key_digest
    }

    /// SHA-256 of the list.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.list.digest
    }

    /// Its number, hexadecimal; `None` if it has none.
    #[must_use]
    pub fn number(&self) -> Option<String> {
        self.list.number.as_ref().map(hex::encode)
    }

    /// When it was made, Unix seconds.
    #[must_use]
    pub fn this_update(&self) -> i64 {
        self.list.this_update
    }

    /// When the next one is due, Unix seconds: the last at which this one holds.
    #[must_use]
    pub fn next_update(&self) -> i64 {
        self.list.next_update
    }

    /// How many certificates it revokes.
    #[must_use]
    pub fn revoked(&self) -> usize {
        self.list.revoked.len()
    }

    /// Whether it holds at `now`, Unix seconds.
    #[must_use]
    pub fn is_of(&self, now: i64) -> bool {
        (self.list.this_update..=self.list.next_update).contains(&now)
    }

    /// By the same authority, whatever its certificates are called.
    pub(super) fn is_by_same(&self, other: &Self) -> bool {
        self.issuer_key == other.issuer_key
    }

    /// By the authority that has this key.
    pub(super) fn is_by(&self, authority: &Certificate) -> bool {
        self.issuer_key == authority.key
    }

    /// Whether it may take the place of `older`: its number is higher (RFC 5280 §5.2.3); where
    /// neither has one, it was made later.
    pub(super) fn supersedes(&self, older: &Self) -> bool {
        let rank = |number: &Vec<u8>| (number.len(), number.clone());
        match (&self.list.number, &older.list.number) {
            (Some(new), Some(old)) => rank(new) > rank(old),
            (None, None) => self.list.this_update > older.list.this_update,
            (new, _) => new.is_some(),
        }
    }

    pub(super) fn standing(&self, serial: &[u8], now: i64) -> Standing {
        if self.list.revoked.contains(serial) {
            return Standing::Listed;
        }
        match self.is_of(now) {
            true => Standing::NotListed,
            false => Standing::Stale(self.list.next_update),
        }
    }
}

type Extensions = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The authority's key identifier and the list's number.
fn read_extensions(
    list: &CertificateRevocationList<'_>,
) -> Result<Extensions, RevocationListError> {
    if list.extensions().len() > MAX_EXTENSIONS {
        return Err(RevocationListError::Extensions);
    }
    let mut seen = Vec::new();
    let (mut key_id, mut number) = (None, None);
    for extension in list.extensions() {
        let oid = extension.oid.to_id_string();
        if seen.contains(&oid) {
            return Err(RevocationListError::Extensions);
        }
        if extension.critical {
            return Err(RevocationListError::Critical(oid));
        }
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::CRLNumber(value) => {
                let bytes = integer(&value.to_bytes_be());
                if bytes.len() > MAX_NUMBER {
                    return Err(RevocationListError::Number);
                }
                number = Some(bytes);
            }
            // The number decides which of two lists is newer; one that cannot be read is none.
            _ if oid == CRL_NUMBER => return Err(RevocationListError::Number),
            _ if PARTIAL.contains(&oid.as_str()) => {
                return Err(RevocationListError::Critical(oid));
            }
            _ => {}
        }
        seen.push(oid);
    }
    Ok((key_id, number))
}

const CRL_NUMBER: &str = "2.5.29.20";

/// Delta CRL indicator and issuing distribution point: critical by the standard (RFC 5280 §5.2.4,
/// §5.2.5), and refused also where an authority forgot to say so.
const PARTIAL: [&str; 2] = ["2.5.29.27", "2.5.29.28"];

/// An entry's critical extension may move it to another issuer (RFC 5280 §5.3.3).
fn check_entry(entry: &RevokedCertificate<'_>) -> Result<(), RevocationListError> {
    match entry
        .extensions()
        .iter()
        .find(|extension| extension.critical)
    {
        Some(extension) => Err(RevocationListError::Critical(extension.oid.to_id_string())),
        None => Ok(()),
    }
}
