//! The master key: all that is secret in the database is encrypted under it, and it is in no database.
//!
//! Whatever holds it encrypts and decrypts 32 bytes and some more for a purpose; nobody above sees its own bytes. Today
//! that is a file; a token (PKCS#11) would take the file's place here.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use touchstone_evidence::digest::Sha256Digest;
use zeroize::Zeroizing;

use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::keys::{self, KeyError};
use crate::random::{self, NoRandomness};
use crate::store::{Store, StoreError, Tx, Wrapped, WrappedVersion};

/// Its file, if no other is named.
const FILE: &str = "master.key";
/// What its id is a hash of, before its bytes: the id says nothing of them, since they are random.
const ID_DOMAIN: &[u8] = b"touchstone master key id v1\0";

/// Where it is.
pub(crate) struct MasterKeyFiles<'a> {
    /// The data folder, where it is made if no file is named.
    pub(crate) folder: &'a Path,
    /// Another file: that of a secret mount.
    pub(crate) named: Option<&'a Path>,
    /// The one before, from which everything is taken over.
    pub(crate) previous: Option<&'a Path>,
}

/// The key that encrypts keys.
pub(crate) struct MasterKey {
    secret: Zeroizing<[u8; 32]>,
    id: String,
    /// What everything was encrypted under so far, if that is to be taken over.
    previous: Option<Box<MasterKey>>,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MasterKeyError {
    /// Its file.
    #[error(transparent)]
    File(#[from] KeyError),
    /// Something in the database is encrypted under another one.
    #[error(
        "keys in the database are encrypted under the master key `{other}`, and this attestor has `{ours}`; give it the \
         right file with --master-key, or the old one with --previous-master-key to take everything over"
    )]
    Other {
        /// Its id.
        other: String,
        /// That of this attestor.
        ours: String,
    },
    /// What was kept does not decrypt.
    #[error(
        "a key in the database does not decrypt under the master key `{0}`; restore both from one backup"
    )]
    Altered(String),
    /// No randomness for a nonce.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MasterKey {
    /// Reads it; makes it in the data folder, if it is not there and nothing in the database is encrypted yet.
    pub(crate) async fn load(
        files: MasterKeyFiles<'_>,
        store: &Store,
    ) -> Result<Self, MasterKeyError> {
        let path: PathBuf = match files.named {
            Some(path) => path.to_owned(),
            None => files.folder.join(FILE),
        };
        let in_use = !store.read().await?.master_keys().await?.is_empty();
        let makes = files.named.is_none() && (!in_use || files.previous.is_some());
        if !makes && !path.exists() {
            return Err(KeyError::Missing(path).into());
        }
        let previous = files.previous.map(Self::read_existing).transpose()?;
        let mut key = Self::read(&path)?;
        key.previous = previous.map(Box::new);
        Ok(key)
    }

    fn read_existing(path: &Path) -> Result<Self, KeyError> {
        match path.exists() {
            true => Self::read(path),
            false => Err(KeyError::Missing(path.to_owned())),
        }
    }

    fn read(path: &Path) -> Result<Self, KeyError> {
        Ok(Self::of(keys::secret(path)?))
    }

    fn of(secret: Zeroizing<[u8; 32]>) -> Self {
        let id = Sha256Digest::of_parts(&[ID_DOMAIN, &secret[..]]).to_string();
        Self {
            secret,
            id: id.chars().take(16).collect(),
            previous: None,
        }
    }

    /// Looks whether everything in the database is encrypted under it, and takes over what is encrypted under the
    /// one before.
    pub(crate) async fn begin(&self, store: &Store) -> Result<(), MasterKeyError> {
        let mut tx = store.write().await?;
        let known = tx.master_keys().await?;
        if known.iter().all(|id| *id == self.id) {
            return Ok(());
        }
        let previous = self.previous.as_ref();
        let Some(previous) =
            previous.filter(|before| known.iter().all(|id| *id == self.id || *id == before.id))
        else {
            return self.agrees(&mut tx).await;
        };
        tx.overwrite_deleted().await?;
        let mut count = 0_usize;
        for kept in tx.wrapped_versions().await? {
            if kept.wrapped.master == previous.id {
                let purpose = purpose_of(&kept);
                let secret = previous.open(&purpose, &kept.wrapped)?;
                let wrapped = self.wrap(&purpose, &secret)?;
                tx.rewrap_version(&WrappedVersion { wrapped, ..kept })
                    .await?;
                count = count.saturating_add(1);
            }
        }
        // They live for an hour; whoever has one asks for another.
        tx.forget_import_keys(i64::MAX).await?;
        let event = Event::MasterKeyReplaced {
            master_key: self.id.clone(),
            replaced: previous.id.clone(),
            versions: count,
        };
        audit::append(&mut tx, &event, &Actor::Attestor, clock::now()).await?;
        tx.commit().await?;
        store.scrub_layer_keys().await;
        tracing::info!(
            "{count} keys are encrypted under the master key {} now",
            self.id
        );
        Ok(())
    }

    /// That nothing in the database is encrypted under another one: two would never be brought together again.
    pub(crate) async fn agrees(&self, tx: &mut Tx) -> Result<(), MasterKeyError> {
        let known = tx.master_keys().await?;
        match known.into_iter().find(|id| *id != self.id) {
            None => Ok(()),
            Some(other) => Err(self.other(other)),
        }
    }

    /// Encrypts `secret` for a purpose, which it must be asked back for.
    pub(crate) fn wrap(&self, purpose: &[u8], secret: &[u8]) -> Result<Wrapped, MasterKeyError> {
        let nonce = random::bytes::<NONCE_LEN>()?;
        let failed = || MasterKeyError::Altered(self.id.clone());
        let mut sealed = Zeroizing::new(secret.to_vec());
        let tag = self
            .cipher()
            .ok_or_else(failed)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                &mut sealed,
            )
            .map_err(|_| failed())?;
        Ok(Wrapped {
            master: self.id.clone(),
            bytes: [&nonce[..], &sealed, tag.as_ref()].concat(),
        })
    }

    /// Decrypts what was encrypted for this purpose.
    pub(crate) fn open(
        &self,
        purpose: &[u8],
        wrapped: &Wrapped,
    ) -> Result<Zeroizing<Vec<u8>>, MasterKeyError> {
        if wrapped.master != self.id {
            return Err(self.other(wrapped.master.clone()));
        }
        let failed = || MasterKeyError::Altered(self.id.clone());
        let (nonce, sealed) = wrapped
            .bytes
            .split_first_chunk::<NONCE_LEN>()
            .ok_or_else(failed)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let cipher = self.cipher().ok_or_else(failed)?;
        let length = cipher
            .open_in_place(nonce, Aad::from(purpose), &mut opened)
            .map_err(|_| failed())?
            .len();
        opened.truncate(length);
        Ok(opened)
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &self.secret[..]);
        key.ok().map(LessSafeKey::new)
    }

    fn other(&self, other: String) -> MasterKeyError {
        MasterKeyError::Other {
            other,
            ours: self.id.clone(),
        }
    }
}

/// What a version of a key is encrypted for: no other name and no other version.
pub(super) fn purpose_of_version(name: &str, version: u32) -> Vec<u8> {
    format!("touchstone layer key v1\0{name}\0{version}").into_bytes()
}

fn purpose_of(kept: &WrappedVersion) -> Vec<u8> {
    purpose_of_version(kept.name.as_str(), kept.version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey::of(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn what_is_wrapped_opens_for_its_purpose_alone() {
        let master = key(7);
        let wrapped = master.wrap(b"a", &[9; 32]).unwrap();
        assert_eq!(**master.open(b"a", &wrapped).unwrap(), [9; 32]);
        assert!(!wrapped.bytes.windows(32).any(|part| part == [9; 32]));
        assert!(matches!(
            master.open(b"b", &wrapped),
            Err(MasterKeyError::Altered(_))
        ));
        assert!(matches!(
            key(8).open(b"a", &wrapped),
            Err(MasterKeyError::Other { .. })
        ));
        for at in 0..wrapped.bytes.len() {
            let mut changed = wrapped.clone();
            changed.bytes[at] ^= 1;
            assert!(master.open(b"a", &changed).is_err(), "byte {at}");
        }
        assert_ne!(wrapped, master.wrap(b"a", &[9; 32]).unwrap());
    }

    #[test]
    fn an_error_says_nothing_of_the_key() {
        let wrapped = key(8).wrap(b"a", &[9; 32]).unwrap();
        let said = format!("{:?}", key(7).open(b"a", &wrapped).err().unwrap());
        assert!(!said.contains(&hex::encode([7; 32])) && !said.contains("7, 7"));
    }
}
