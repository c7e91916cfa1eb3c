//! A secret as its host keeps it, in the form of Vault's transit engine: `vault:vN:` and base64 of the wrapped data key and
//! of the secret encrypted under it (AES-256-GCM). N is the version of the attestor's key.
//!
//! Clients take such a text for opaque. What is in it was made on the host and is opened there alone.

#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::aead::{Aad, MAX_TAG_LEN, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::annotation::{NONCE, cipher};
use crate::data_key::{DataKey, DataKeyError, WRAPPED_MAX, WrappedDataKey};
use crate::qualifying::append;

/// Largest secret, bytes. Keys, tokens and configuration are smaller by far; what is larger is encrypted with one of these.
pub const SECRET_MAX: usize = 64 << 10;
/// Most associated data, bytes.
pub const ASSOCIATED_MAX: usize = 4 << 10;
/// Longest text of a secret: format, length, wrapped data key, nonce, secret and tag in base64, behind the prefix.
pub const TEXT_MAX: usize =
    20 + (3 + WRAPPED_MAX + NONCE + SECRET_MAX + MAX_TAG_LEN).div_ceil(3) * 4;

/// First byte of what is in base64.
const FORMAT: u8 = 1;
/// First bytes of the authenticated data; another version is another string.
const DOMAIN: &[u8] = b"touchstone secret v1\0";

/// An encrypted secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    wrapped: WrappedDataKey,
    /// The JSON of it, to the byte: it is authenticated.
    json: Vec<u8>,
    nonce: [u8; NONCE],
    ciphertext: Vec<u8>,
}

/// Why a secret is not encrypted, or not decrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It has another form.
    #[error(
        "the ciphertext is none of Touchstone's ({0}); take it whole, as `vault:vN:…`, from what was encrypted here"
    )]
    Malformed(&'static str),
    /// More than [`SECRET_MAX`].
    #[error(
        "the secret has {0} bytes, and at most {SECRET_MAX} are encrypted; encrypt what is larger with a key of your \
         own, and that key here"
    )]
    TooLarge(usize),
    /// More than [`ASSOCIATED_MAX`].
    #[error(
        "the associated data has {0} bytes, and at most {ASSOCIATED_MAX} are taken; use a digest of it"
    )]
    AssociatedTooLarge(usize),
    /// The data key in it.
    #[error(transparent)]
    DataKey(#[from] DataKeyError),
    /// It was changed, or goes with other associated data.
    #[error("the ciphertext was changed, or was encrypted with other associated data")]
    NotOpened,
}

impl Secret {
    /// Encrypts `plaintext` under a data key of its own; `nonce` is used once with it. Associated data that is empty is
    /// as good as none.
    pub fn seal(
        wrapped: WrappedDataKey,
        data_key: &DataKey,
        plaintext: &[u8],
        associated: &[u8],
        nonce: [u8; NONCE],
    ) -> Result<Self, SecretError> {
        if plaintext.len() > SECRET_MAX {
            return Err(SecretError::TooLarge(plaintext.len()));
        }
        let failed = || SecretError::Malformed("it could not be encrypted");
        let json = wrapped.to_json().map_err(|_| failed())?;
        let aad = authenticated(&json, associated)?;
        // Room for the tag: a buffer that grows would leave its contents behind.
        let room = plaintext.len().saturating_add(MAX_TAG_LEN);
        let mut sealed = Zeroizing::new(Vec::with_capacity(room));
        sealed.extend_from_slice(plaintext);
        cipher(data_key.bytes())
            .and_then(|cipher| {
                let nonce = Nonce::assume_unique_for_key(nonce);
                cipher
                    .seal_in_place_append_tag(nonce, Aad::from(aad), &mut *sealed)
                    .ok()
            })
            .ok_or_else(failed)?;
        Ok(Self {
            wrapped,
            json,
            nonce,
            ciphertext: sealed.to_vec(),
        })
    }

    /// The secret, if this is as it was encrypted under `data_key`, with the same associated data.
    pub fn open(
        &self,
        data_key: &DataKey,
        associated: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let aad = Aad::from(authenticated(&self.json, associated)?);
        let cipher = cipher(data_key.bytes()).ok_or(SecretError::NotOpened)?;
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let mut opened = Zeroizing::new(self.ciphertext.clone());
        let length = cipher
            .open_in_place(nonce, aad, &mut opened)
            .map_err(|_| SecretError::NotOpened)?
            .len();
        opened.truncate(length);
        Ok(opened)
    }

    /// Reads `vault:vN:BASE64`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let malformed = |what| move || SecretError::Malformed(what);
        if text.len() > TEXT_MAX {
            return Err(SecretError::Malformed("it is too long"));
        }
        let (version, encoded) = text
            .strip_prefix("vault:v")
            .and_then(|rest| rest.split_once(':'))
            .ok_or_else(malformed("it does not begin with `vault:vN:`"))?;
        let bytes = STANDARD.decode(encoded);
        let bytes = bytes.map_err(|_| SecretError::Malformed("what follows is no base64"))?;
        let secret = Self::read(&bytes).ok_or_else(malformed("its parts are not there"))??;
        let version_bound = secret.wrapped.untrusted_binding().key_version;
        match version == version_bound.to_string() {
            true => Ok(secret),
            false => Err(SecretError::Malformed("its key version was changed")),
        }
    }

    fn read(bytes: &[u8]) -> Option<Result<Self, SecretError>> {
        let rest = bytes.strip_prefix(&[FORMAT])?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (json, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>()?;
        (ciphertext.len() >= MAX_TAG_LEN).then_some(())?;
        Some(match WrappedDataKey::parse(json) {
            Ok(wrapped) => Ok(Self {
                wrapped,
                json: json.to_vec(),
                nonce: *nonce,
                ciphertext: ciphertext.to_vec(),
            }),
            Err(error) => Err(error.into()),
        })
    }

    /// The data key that it is encrypted under, wrapped.
    #[must_use]
    pub fn wrapped(&self) -> &WrappedDataKey {
        &self.wrapped
    }

    /// The JSON of that, to the byte.
    #[must_use]
    pub fn wrapped_json(&self) -> &[u8] {
        &self.json
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A wrapped data key has at most 1 KiB.
        let length = u16::try_from(self.json.len()).unwrap_or(u16::MAX);
        let parts: [&[u8]; 5] = [
            &[FORMAT],
            &length.to_be_bytes(),
            &self.json,
            &self.nonce,
            &self.ciphertext,
        ];
        let version = self.wrapped.untrusted_binding().key_version;
        write!(out, "vault:v{version}:{}", STANDARD.encode(parts.concat()))
    }
}

/// The domain, the wrapped data key and the associated data, the latter two as in [`crate::qualifying`].
fn authenticated(json: &[u8], associated: &[u8]) -> Result<Vec<u8>, SecretError> {
    if associated.len() > ASSOCIATED_MAX {
        return Err(SecretError::AssociatedTooLarge(associated.len()));
    }
    let mut encoded = DOMAIN.to_vec();
    append(&mut encoded, Some(json));
    append(&mut encoded, Some(associated));
    Ok(encoded)
}
