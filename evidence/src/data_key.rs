//! A data key under a key of the attestor's, as a host keeps it beside what it encrypted: bound to that key, its version,
//! the policy that releases it, and to itself.
//!
//! It is of another domain than a layer's annotation, so that neither opens in the other's place.
//! Not established here: that the key may be used, or that a host may have what is in it.

#[cfg(test)]
mod tests;

use aws_lc_rs::aead::{Aad, MAX_TAG_LEN, Nonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::annotation::{KeyName, NONCE, PolicyName, cipher};
use crate::digest::Sha256Digest;
use crate::encoded::Bytes;
use crate::qualifying::append;

/// Bytes of a data key, which is used once, with AES-256-GCM.
pub const DATA_KEY: usize = 32;
/// Largest wrapped data key, bytes; the longest names make some 800.
pub const WRAPPED_MAX: usize = 1 << 10;
const CIPHERTEXT: usize = DATA_KEY + MAX_TAG_LEN;
/// Version of the format.
const VERSION: u32 = 1;
/// First bytes of the authenticated data; another version is another string.
const DOMAIN: &[u8] = b"touchstone data key v1\0";
/// Stands before a data key in what names it.
const ID_DOMAIN: &[u8] = b"touchstone data key id v1\0";

/// What encrypts one secret.
pub struct DataKey(Zeroizing<[u8; DATA_KEY]>);

impl DataKey {
    /// From as many random bytes.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; DATA_KEY]>) -> Self {
        Self(bytes)
    }

    /// The key that these bytes are; `None` if there are more or fewer.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; DATA_KEY]);
        (bytes.len() == DATA_KEY).then(|| key.copy_from_slice(bytes))?;
        Some(Self(key))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; DATA_KEY] {
        &self.0
    }

    /// What names it and says nothing of it. AES-GCM alone does not commit to a key: this does.
    #[must_use]
    pub fn id(&self) -> Sha256Digest {
        let named = Zeroizing::new([ID_DOMAIN, &self.0[..]].concat());
        Sha256Digest::of(&named)
    }
}

/// What a wrapped data key says in clear, and binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The key that wraps.
    pub key: KeyName,
    /// Which of its versions; the first is 1.
    pub key_version: u32,
    /// [`DataKey::id`].
    pub id: Sha256Digest,
    /// Name of the `WorkloadPolicy` whose host half decides who may have it.
    pub policy: PolicyName,
}

/// A wrapped data key. What it says in clear is proven by [`WrappedDataKey::open`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedDataKey {
    untrusted_binding: Binding,
    nonce: [u8; NONCE],
    ciphertext: Bytes<CIPHERTEXT>,
}

/// Why a wrapped data key is none, or does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataKeyError {
    /// More than 1 KiB, or no JSON of this format.
    #[error(
        "the data key in the ciphertext cannot be read ({0}); take the ciphertext whole, as it was given out"
    )]
    Malformed(String),
    /// Another version of the format.
    #[error(
        "the data key in the ciphertext is of version {0}, and this software reads {VERSION}; bring it up to date"
    )]
    Version(u32),
    /// It was changed, or is of another key.
    #[error(
        "the data key in the ciphertext does not open under its key: it was changed, or its key is another attestor's"
    )]
    NotOpened,
}

impl DataKeyError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "data-key-malformed",
            Self::Version(_) => "data-key-version",
            Self::NotOpened => "data-key-not-opened",
        }
    }
}

/// [`WrappedDataKey`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    key: KeyName,
    key_version: u32,
    data_key: Sha256Digest,
    policy: PolicyName,
    nonce: Bytes<NONCE>,
    ciphertext: Bytes<CIPHERTEXT>,
}

/// The version alone: what else another one holds is not known.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl WrappedDataKey {
    /// Reads a wrapped data key.
    pub fn parse(json: &[u8]) -> Result<Self, DataKeyError> {
        if json.len() > WRAPPED_MAX {
            let said = format!("{} bytes where at most {WRAPPED_MAX} are", json.len());
            return Err(DataKeyError::Malformed(said));
        }
        let malformed = |error: serde_json::Error| {
            // It may hold the writer's own words.
            DataKeyError::Malformed(error.to_string().chars().take(200).collect())
        };
        let versioned: Versioned = serde_json::from_slice(json).map_err(malformed)?;
        if versioned.version != VERSION {
            return Err(DataKeyError::Version(versioned.version));
        }
        let written: Written = serde_json::from_slice(json).map_err(malformed)?;
        let nonce = written.nonce.0.try_into();
        Ok(Self {
            untrusted_binding: Binding {
                key: written.key,
                key_version: written.key_version,
                id: written.data_key,
                policy: written.policy,
            },
            nonce: nonce.map_err(|_| DataKeyError::Malformed("nonce".to_owned()))?,
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
            data_key: bound.id,
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

    /// Wraps `data_key`, which must be the one that is bound. `nonce` is used once with `key`.
    pub fn seal(
        binding: Binding,
        data_key: &DataKey,
        key: &[u8; 32],
        nonce: [u8; NONCE],
    ) -> Result<Self, DataKeyError> {
        let failed = || DataKeyError::Malformed("it could not be encrypted".to_owned());
        if data_key.id() != binding.id {
            return Err(failed());
        }
        // Room for the tag: a buffer that grows would leave its contents behind.
        let mut sealed = Zeroizing::new(Vec::with_capacity(CIPHERTEXT));
        sealed.extend_from_slice(data_key.bytes());
        let aad = Aad::from(binding.encode());
        cipher(key)
            .and_then(|cipher| {
                let nonce = Nonce::assume_unique_for_key(nonce);
                cipher
                    .seal_in_place_append_tag(nonce, aad, &mut *sealed)
                    .ok()
            })
            .ok_or_else(failed)?;
        Ok(Self {
            untrusted_binding: binding,
            nonce,
            ciphertext: sealed.to_vec().into(),
        })
    }

    /// The data key, if this is as it was wrapped under `key`; then the binding is what was bound.
    pub fn open(&self, key: &[u8; 32]) -> Result<Opened, DataKeyError> {
        let failed = || DataKeyError::NotOpened;
        let mut opened = Zeroizing::new(self.ciphertext.0.clone());
        let cipher = cipher(key).ok_or_else(failed)?;
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let aad = Aad::from(self.untrusted_binding.encode());
        let opened = cipher
            .open_in_place(nonce, aad, &mut opened)
            .map_err(|_| failed())?;
        let data_key = DataKey::read(opened).ok_or_else(failed)?;
        match data_key.id() == self.untrusted_binding.id {
            true => Ok(Opened {
                binding: self.untrusted_binding.clone(),
                data_key,
            }),
            false => Err(failed()),
        }
    }
}

/// Proof that a wrapped data key is as the holder of its key wrapped it.
pub struct Opened {
    binding: Binding,
    data_key: DataKey,
}

impl Opened {
    /// What it was bound to.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The data key.
    #[must_use]
    pub fn data_key(&self) -> &DataKey {
        &self.data_key
    }
}

impl Binding {
    /// The domain and the fields in order, each with a presence byte and a length of four bytes, big-endian.
    fn encode(&self) -> Vec<u8> {
        let mut encoded = DOMAIN.to_vec();
        append(&mut encoded, Some(&VERSION.to_be_bytes()));
        append(&mut encoded, Some(self.key.as_str().as_bytes()));
        append(&mut encoded, Some(&self.key_version.to_be_bytes()));
        append(&mut encoded, Some(&self.id.0));
        append(&mut encoded, Some(self.policy.as_str().as_bytes()));
        encoded
    }
}
