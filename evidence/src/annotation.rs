//! The annotation of an encrypted layer: its cipher options under a key of the attestor's, bound to that key, its
//! version, the plain layer and the policy that releases it.
//!
//! Not established here: that the key may be used, or that a host may read the layer.

mod key_name;
#[cfg(test)]
mod tests;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::encoded::Bytes;
use crate::oci_digest::OciDigest;
use crate::qualifying::append;

pub use key_name::{KeyName, NotAKeyName, NotAPolicyName, PolicyName};

/// Largest annotation, bytes.
pub const ANNOTATION_MAX: usize = 16 << 10;
/// Most cipher options, bytes; ocicrypt's are about 200.
pub const OPTIONS_MAX: usize = 8 << 10;
const CIPHERTEXT_MAX: usize = OPTIONS_MAX + MAX_TAG_LEN;
/// Bytes of a nonce of AES-GCM. Random ones are safe for 2³² layers under one key version (SP 800-38D §8.3).
pub const NONCE: usize = 12;
/// Version of the format.
const VERSION: u32 = 1;
/// First bytes of the authenticated data; another version is another string.
const DOMAIN: &[u8] = b"touchstone layer key v1\0";

/// What an annotation says in clear, and binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The key that wraps.
    pub key: KeyName,
    /// Which of its versions; the first is 1.
    pub key_version: u32,
    /// The plain layer.
    pub layer: OciDigest,
    /// Name of the `WorkloadPolicy` whose host half decides who may read it.
    pub policy: PolicyName,
}

/// A sealed annotation. What it says in clear is proven by [`Annotation::open`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    untrusted_binding: Binding,
    nonce: [u8; NONCE],
    ciphertext: Bytes<CIPHERTEXT_MAX>,
}

/// Why an annotation is none, or does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// More than 16 KiB, or no JSON of this format.
    #[error(
        "the annotation cannot be read ({0}); encrypt the image again with `provider:touchstone:KEY`"
    )]
    Malformed(String),
    /// Another version of the format.
    #[error(
        "the annotation is of version {0}, and this software reads {VERSION}; bring it up to date"
    )]
    Version(u32),
    /// The cipher options are none, or name no layer.
    #[error("the layer's options cannot be wrapped: {0}")]
    Options(&'static str),
    /// It was changed, or is of another key.
    #[error(
        "the annotation does not open under its key: it was changed, or its key is another attestor's; encrypt the \
         image again"
    )]
    NotOpened,
}

impl AnnotationError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "annotation-malformed",
            Self::Version(_) => "annotation-version",
            Self::Options(_) => "layer-options-malformed",
            Self::NotOpened => "annotation-not-opened",
        }
    }
}

/// [`Annotation`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    key: KeyName,
    key_version: u32,
    layer: OciDigest,
    policy: PolicyName,
    nonce: Bytes<NONCE>,
    ciphertext: Bytes<CIPHERTEXT_MAX>,
}

/// The version alone: what else an annotation of another one holds is not known.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Annotation {
    /// Reads an annotation.
    pub fn parse(json: &[u8]) -> Result<Self, AnnotationError> {
        if json.len() > ANNOTATION_MAX {
            let said = format!("{} bytes where at most {ANNOTATION_MAX} are", json.len());
            return Err(AnnotationError::Malformed(said));
        }
        let malformed = |error: serde_json::Error| {
            // It may hold the annotation's own words.
            AnnotationError::Malformed(error.to_string().chars().take(200).collect())
        };
        let versioned: Versioned = serde_json::from_slice(json).map_err(malformed)?;
        if versioned.version != VERSION {
            return Err(AnnotationError::Version(versioned.version));
        }
        let written: Written = serde_json::from_slice(json).map_err(malformed)?;
        let nonce = written.nonce.0.try_into();
        Ok(Self {
            untrusted_binding: Binding {
                key: written.key,
                key_version: written.key_version,
                layer: written.layer,
                policy: written.policy,
            },
            nonce: nonce.map_err(|_| AnnotationError::Malformed("nonce".to_owned()))?,
            ciphertext: written.ciphertext,
        })
    }

    /// The JSON of it.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let bound = &self.untrusted_binding;
        serde_json::to_vec(&Written {
            version: VERSION,
            key: bound.key.clone(),
            key_version: bound.key_version,
            layer: bound.layer,
            policy: bound.policy.clone(),
            nonce: self.nonce.to_vec().into(),
            ciphertext: self.ciphertext.clone(),
        })
    }

    /// What it says of itself: enough to look up the key that opens it, and for nothing else.
    #[must_use]
    pub fn untrusted_binding(&self) -> &Binding {
        &self.untrusted_binding
    }

    /// Seals `options`, which must be of the layer that is bound. `nonce` is used once with `key`.
    pub fn seal(
        binding: Binding,
        options: &[u8],
        key: &[u8; 32],
        nonce: [u8; NONCE],
    ) -> Result<Self, AnnotationError> {
        if layer_of(options)? != binding.layer {
            return Err(AnnotationError::Options("they are of another layer"));
        }
        let failed = AnnotationError::Options("they could not be encrypted");
        // Room for the tag: a buffer that grows would leave its contents behind.
        let mut sealed = Vec::with_capacity(CIPHERTEXT_MAX);
        sealed.extend_from_slice(options);
        let mut sealed = Zeroizing::new(sealed);
        cipher(key)
            .and_then(|cipher| {
                let nonce = Nonce::assume_unique_for_key(nonce);
                cipher
                    .seal_in_place_append_tag(nonce, Aad::from(binding.encode()), &mut *sealed)
                    .ok()
            })
            .ok_or(failed)?;
        Ok(Self {
            untrusted_binding: binding,
            nonce,
            ciphertext: sealed.to_vec().into(),
        })
    }

    /// The cipher options, if this is as it was sealed under `key`; then the binding is what was bound.
    pub fn open(&self, key: &[u8; 32]) -> Result<Opened, AnnotationError> {
        let failed = AnnotationError::NotOpened;
        let mut opened = Zeroizing::new(self.ciphertext.0.clone());
        let cipher = cipher(key).ok_or(failed.clone())?;
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let aad = Aad::from(self.untrusted_binding.encode());
        let length = cipher
            .open_in_place(nonce, aad, &mut opened)
            .map_err(|_| failed.clone())?
            .len();
        opened.truncate(length);
        match layer_of(&opened) {
            Ok(layer) if layer == self.untrusted_binding.layer => Ok(Opened {
                binding: self.untrusted_binding.clone(),
                options: opened,
            }),
            _ => Err(failed),
        }
    }
}

/// Proof that an annotation is as the holder of its key sealed it.
pub struct Opened {
    binding: Binding,
    options: Zeroizing<Vec<u8>>,
}

impl Opened {
    /// What it was bound to.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The layer's cipher options with its key, as ocicrypt gave them.
    #[must_use]
    pub fn options(&self) -> &[u8] {
        &self.options
    }
}

impl Binding {
    /// The domain and the fields in order, each with a presence byte and a length of four bytes, big-endian.
    fn encode(&self) -> Vec<u8> {
        let mut encoded = DOMAIN.to_vec();
        append(&mut encoded, Some(&VERSION.to_be_bytes()));
        append(&mut encoded, Some(self.key.as_str().as_bytes()));
        append(&mut encoded, Some(&self.key_version.to_be_bytes()));
        append(&mut encoded, Some(self.layer.to_string().as_bytes()));
        append(&mut encoded, Some(self.policy.as_str().as_bytes()));
        encoded
    }
}

/// The digest of the plain layer that cipher options name (ocicrypt's `PrivateLayerBlockCipherOptions`).
pub fn layer_of(options: &[u8]) -> Result<OciDigest, AnnotationError> {
    #[derive(Deserialize)]
    struct Options {
        digest: OciDigest,
    }
    if options.len() > OPTIONS_MAX {
        return Err(AnnotationError::Options("they have more than 8 KiB"));
    }
    // The reader's words could quote the key.
    let options: Result<Options, _> = serde_json::from_slice(options);
    options
        .map(|options| options.digest)
        .map_err(|_| AnnotationError::Options("they name no plain layer by its SHA-256"))
}

/// AES-256-GCM under `key`.
pub(crate) fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key)
        .ok()
        .map(LessSafeKey::new)
}
