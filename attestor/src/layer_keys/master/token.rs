//! A master key in a PKCS#11 token, which it never leaves: the token computes HMAC-SHA256 with it, and nothing else.
//!
//! Each secret gets a key of its own, derived by the token from a fresh salt and the purpose, and AES-256-GCM is done
//! here. So remote tokens and those that take no parameters of AES-GCM serve as well, and a secret that was altered is
//! told from a token that fails.

mod error;
mod session;
mod uri;
mod worker;

use zeroize::Zeroizing;

use super::MasterKeyError;
use super::sealing::{self, NonceBytes};
use crate::random;

pub(crate) use error::TokenError;
pub(super) use uri::TokenUri;

use worker::Worker;

/// Fresh for each secret, so that each key encrypts one.
const SALT_LEN: usize = 32;
/// Each key encrypts once.
const NONCE: NonceBytes = [0; 12];
/// What the id is derived as. It is of the key's own bytes: a copy of the key in another token has it too, and another
/// key of the same name has not.
const ID: &[u8] = b"touchstone master key id v1";
const WRAPPING: &[u8] = b"touchstone wrapping key v1";

/// What HMAC gave.
type Mac = Zeroizing<Vec<u8>>;

/// Asks the token.
pub(super) struct TokenKey(Worker);

impl TokenKey {
    /// Finds the key in its token, or makes it there if `may_make`, with its id.
    pub(super) async fn find(
        uri: TokenUri,
        may_make: bool,
    ) -> Result<(String, Self), MasterKeyError> {
        let (id, worker) = Worker::start(uri, may_make).await?;
        Ok((id, Self(worker)))
    }

    /// Whether the token did its work when it was last asked, a few seconds ago at most.
    pub(super) fn is_there(&self) -> bool {
        self.0.is_there()
    }

    /// Salt, ciphertext and tag.
    pub(super) async fn wrap(
        &self,
        purpose: &[u8],
        secret: &[u8],
    ) -> Result<Option<Vec<u8>>, MasterKeyError> {
        let salt = random::bytes::<SALT_LEN>()?;
        let key = self.derive(&salt, purpose).await?;
        let sealed = sealing::seal(&key, NONCE, purpose, secret);
        Ok(sealed.map(|sealed| [&salt[..], &sealed].concat()))
    }

    /// `None`: it was not wrapped under this key for this purpose.
    pub(super) async fn open(
        &self,
        purpose: &[u8],
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, MasterKeyError> {
        let Some((salt, sealed)) = wrapped.split_first_chunk::<SALT_LEN>() else {
            return Ok(None);
        };
        let key = self.derive(salt, purpose).await?;
        Ok(sealing::open(&key, NONCE, purpose, sealed))
    }

    async fn derive(&self, salt: &[u8; SALT_LEN], purpose: &[u8]) -> Result<Mac, MasterKeyError> {
        let context = [&salt[..], purpose].concat();
        self.0.mac(derivation(WRAPPING, &context)).await
    }
}

/// What HMAC is computed over for 256 bits: one block of the KDF in counter mode, NIST SP 800-108r1 §4.1.
fn derivation(label: &[u8], context: &[u8]) -> Vec<u8> {
    let (block, bits) = (1_u32.to_be_bytes(), 256_u32.to_be_bytes());
    [&block[..], label, &[0], context, &bits].concat()
}

/// Hexadecimal digits of the MAC over [`ID`].
fn id_of(mac: &Mac) -> String {
    hex::encode(mac).chars().take(16).collect()
}
