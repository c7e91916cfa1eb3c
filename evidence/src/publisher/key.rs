//! Keys that publishers sign with: ECDSA on P-256, or Ed25519, by their SubjectPublicKeyInfo (RFC 5480, RFC 8410).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::digest::Sha256Digest;

/// Longest text that is read: a key of either kind has some hundred bytes.
const TEXT_MAX: usize = 1024;
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// A public key that signatures are verified with.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct PublisherKey {
    id: Sha256Digest,
    key: ParsedPublicKey,
}

/// Text that is no such key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no public key that signatures of images are verified with; give an ECDSA P-256 or Ed25519 key as PEM \
     (`-----BEGIN PUBLIC KEY-----`), or its DER in base64, as `cosign public-key` and `openssl pkey -pubout` write it"
)]
pub struct NotAPublisherKey;

impl PublisherKey {
    /// Reads PEM, or the DER in it as base64.
    pub fn parse(text: &str) -> Result<Self, NotAPublisherKey> {
        let text = text.trim();
        if text.len() > TEXT_MAX {
            return Err(NotAPublisherKey);
        }
        let inner = text.strip_prefix(BEGIN);
        let body = match inner {
            Some(inner) => inner.strip_suffix(END).ok_or(NotAPublisherKey)?,
            None => text,
        };
        let digits: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(digits).map_err(|_| NotAPublisherKey)?;
        Self::of_der(&der).ok_or(NotAPublisherKey)
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let parameters = spki.algorithm.parameters.as_ref();
        let bits = &spki.subject_public_key;
        let algorithm = spki.algorithm.algorithm.to_id_string();
        let key = match algorithm.as_str() {
            _ if !rest.is_empty() || bits.unused_bits != 0 => return None,
            // id-ecPublicKey on secp256r1, the whole point.
            "1.2.840.10045.2.1" => {
                let curve = parameters?.as_oid().ok()?.to_id_string();
                let whole = bits.data.first() == Some(&4) && curve == "1.2.840.10045.3.1.7";
                whole.then(|| ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &bits.data))?
            }
            // id-Ed25519, without parameters.
            "1.3.101.112" if parameters.is_none() => ParsedPublicKey::new(&ED25519, &bits.data),
            _ => return None,
        };
        Some(Self {
            id: Sha256Digest::of(der),
            key: key.ok()?,
        })
    }

    /// SHA-256 of its SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn id(&self) -> Sha256Digest {
        self.id
    }

    /// Whether `signature` is its signature of `message`: DER of ECDSA over SHA-256, or Ed25519 of the message itself.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl TryFrom<String> for PublisherKey {
    type Error = NotAPublisherKey;

    fn try_from(text: String) -> Result<Self, NotAPublisherKey> {
        Self::parse(&text)
    }
}

impl PartialEq for PublisherKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for PublisherKey {}

impl fmt::Debug for PublisherKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublisherKey({})", self.id)
    }
}
