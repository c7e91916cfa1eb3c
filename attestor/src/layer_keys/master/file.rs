//! A master key in a file of mode 0600: 64 hexadecimal digits. Whoever reads the memory of the attestor reads it.

use std::path::Path;

use aws_lc_rs::aead::NONCE_LEN;
use touchstone_evidence::digest::Sha256Digest;
use zeroize::Zeroizing;

use super::sealing::{self, Key};
use crate::keys::{self, KeyError};
use crate::random::{self, NoRandomness};

/// Its file, if no other is named.
pub(super) const FILE: &str = "master.key";
/// What its id is a hash of, before its bytes: the id says nothing of them, since they are random.
const ID_DOMAIN: &[u8] = b"touchstone master key id v1\0";

/// The key itself.
pub(super) struct FileKey(Key);

impl FileKey {
    /// Reads the file, or makes it where that is allowed.
    pub(super) fn read(path: &Path, may_make: bool) -> Result<Self, KeyError> {
        if !may_make && !path.exists() {
            return Err(KeyError::Missing(path.to_owned()));
        }
        let secret = keys::secret(path)?;
        Ok(Self(Zeroizing::new(Box::from(&secret[..]))))
    }

    /// What tells it from others.
    pub(super) fn id(&self) -> String {
        let id = Sha256Digest::of_parts(&[ID_DOMAIN, &self.0]).to_string();
        id.chars().take(16).collect()
    }

    /// Nonce, ciphertext and tag.
    pub(super) fn wrap(
        &self,
        purpose: &[u8],
        secret: &[u8],
    ) -> Result<Option<Vec<u8>>, NoRandomness> {
        let nonce = random::bytes::<NONCE_LEN>()?;
        let sealed = sealing::seal(&self.0, nonce, purpose, secret);
        Ok(sealed.map(|sealed| [&nonce[..], &sealed].concat()))
    }

    /// `None`: it was not wrapped under this key for this purpose.
    pub(super) fn open(&self, purpose: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
        sealing::open(&self.0, *nonce, purpose, sealed)
    }
}
