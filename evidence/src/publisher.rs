//! Publishers' signatures of images, as cosign keeps them beside an image in its registry: a manifest whose layers are
//! the signed payloads (sigstore's `specs/SIGNATURE_SPEC.md`, "simple signing"), each with its signature beside it.
//!
//! Not established here: that an image is good, only that the holder of a key signed for its manifest.

mod key;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::digest::Sha256Digest;
use crate::encoded::Few;
use crate::oci_digest::OciDigest;
pub use key::{NotAPublisherKey, PublisherKey};

/// Largest manifest of signatures, bytes: a certificate and a log's proof may stand beside each.
pub const SIGNATURES_MAX: usize = 256 << 10;
/// Largest payload, bytes; cosign's have a few hundred.
pub const PAYLOAD_MAX: usize = 8 << 10;
/// Most signatures of one image.
const CANDIDATES_MAX: usize = 16;
/// Longest signature in base64: of P-256 in DER, 72 bytes at most.
const SIGNATURE_MAX: usize = 128;
/// The media type of payloads.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Where the signature stands.
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What a payload says that it is.
const TYPE: &str = "cosign container image signature";

/// A signature, and where what it signs is to be found; nothing of it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Of the payload.
    pub payload: OciDigest,
    untrusted_signature: Vec<u8>,
}

/// The holder of a key signed for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedImage {
    image: OciDigest,
    key: Sha256Digest,
}

/// Why nobody signed for an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The manifest of signatures is none.
    #[error("the manifest of signatures cannot be read: {0}")]
    Manifest(String),
    /// It, or a payload, has more bytes than are read.
    #[error("{what} has {bytes} bytes, more than are read")]
    TooLarge {
        /// Which of them.
        what: &'static str,
        /// How many.
        bytes: usize,
    },
    /// The payload is another one than its manifest names.
    #[error("the payload has another digest than `{0}`")]
    OtherPayload(OciDigest),
    /// The key did not sign it.
    #[error("the payload is not signed with this key")]
    OtherKey,
    /// What is signed is no payload of cosign.
    #[error("the signed payload cannot be read: {0}")]
    Payload(String),
    /// It is about another image.
    #[error("the signature is for `{0}`")]
    OtherImage(OciDigest),
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    layers: Few<Layer, CANDIDATES_MAX>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: OciDigest,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: OciDigest,
}

/// The tag under which a registry keeps the signatures of the image with this manifest.
#[must_use]
pub fn tag_of(image: &OciDigest) -> String {
    format!("sha256-{}.sig", image.0)
}

impl Candidate {
    /// The signatures that a manifest of signatures names, few of them; what is none of cosign's is left out.
    pub fn parse_all(manifest: &[u8]) -> Result<Vec<Self>, SignatureError> {
        let what = "the manifest of signatures";
        let json = few(what, manifest, SIGNATURES_MAX)?;
        let written: Written =
            serde_json::from_slice(json).map_err(|error| SignatureError::Manifest(said(&error)))?;
        Ok(written.layers.0.into_iter().filter_map(candidate).collect())
    }

    /// Verifies that this `payload`, byte for byte, is signed with `key`, and is for `image`.
    pub fn verify(
        &self,
        payload: &[u8],
        key: &PublisherKey,
        image: &OciDigest,
    ) -> Result<SignedImage, SignatureError> {
        let payload = few("the payload", payload, PAYLOAD_MAX)?;
        if OciDigest(Sha256Digest::of(payload)) != self.payload {
            return Err(SignatureError::OtherPayload(self.payload));
        }
        if !key.signed(payload, &self.untrusted_signature) {
            return Err(SignatureError::OtherKey);
        }
        let read: Payload = serde_json::from_slice(payload)
            .map_err(|error| SignatureError::Payload(said(&error)))?;
        if read.critical.kind != TYPE {
            let other = read.critical.kind.chars().take(80).collect();
            return Err(SignatureError::Payload(other));
        }
        match read.critical.image.digest {
            named if named == *image => Ok(SignedImage {
                image: named,
                key: key.id(),
            }),
            other => Err(SignatureError::OtherImage(other)),
        }
    }
}

impl SignedImage {
    /// Of which image.
    #[must_use]
    pub fn image(&self) -> OciDigest {
        self.image
    }

    /// With which key.
    #[must_use]
    pub fn key(&self) -> Sha256Digest {
        self.key
    }
}

fn candidate(layer: Layer) -> Option<Candidate> {
    let signature = layer.annotations.get(ANNOTATION)?;
    let is_one = layer.media_type == PAYLOAD && signature.len() <= SIGNATURE_MAX;
    let signature = STANDARD.decode(signature).ok().filter(|_| is_one)?;
    Some(Candidate {
        payload: layer.digest,
        untrusted_signature: signature,
    })
}

fn few<'a>(what: &'static str, bytes: &'a [u8], max: usize) -> Result<&'a [u8], SignatureError> {
    match bytes.len() {
        length if length > max => Err(SignatureError::TooLarge {
            what,
            bytes: length,
        }),
        _ => Ok(bytes),
    }
}

/// It may hold the text's own words.
fn said(error: &serde_json::Error) -> String {
    error.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests;
