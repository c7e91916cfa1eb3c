//! The master key: all that is secret in the database is encrypted under it, and it is in no database.
//!
//! It is in a file or in a PKCS#11 token. Whatever holds it encrypts and decrypts 32 bytes and some more for a purpose;
//! nobody above sees its own bytes.

mod file;
mod sealing;
mod token;

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::keys::KeyError;
use crate::random::NoRandomness;
use crate::store::{Store, StoreError, Tx, Wrapped, WrappedVersion};

use file::{FILE, FileKey};
use token::{TokenError, TokenKey, TokenUri};

/// Where it is.
pub(crate) struct MasterKeyPlaces<'a> {
    /// The data folder, where it is made if no place is named.
    pub(crate) folder: &'a Path,
    /// Another file, such as that of a secret mount; or the `pkcs11:` URI of a key in a token.
    pub(crate) named: Option<&'a Path>,
    /// The one before, from which everything is taken over.
    pub(crate) previous: Option<&'a Path>,
}

/// The key that encrypts keys.
pub(crate) struct MasterKey {
    id: String,
    holder: Holder,
    /// What everything was encrypted under so far, until it is taken over.
    previous: Option<Box<MasterKey>>,
}

enum Holder {
    File(FileKey),
    Token(TokenKey),
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MasterKeyError {
    /// Its file.
    #[error(transparent)]
    File(#[from] KeyError),
    /// Its token, at the start.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its token, later on.
    #[error(
        "the token that holds the master key does not do its work, so no key of a layer is used: {0}"
    )]
    Away(Arc<TokenError>),
    /// More is asked of the token than it gets done.
    #[error("more is asked of the master key's token than it gets done; ask again in a while")]
    Busy,
    /// Something in the database is encrypted under another one.
    #[error(
        "keys in the database are encrypted under the master key `{other}`, and this attestor has `{ours}`; give it the \
         right one with --master-key, or the old one with --previous-master-key to take everything over"
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

impl MasterKeyError {
    /// Whether the PIN of its token is refused or at stake, so that another try may lock the token.
    pub(crate) fn is_of_pin(&self) -> bool {
        let token = match self {
            Self::Token(error) => error,
            Self::Away(error) => error,
            _ => return false,
        };
        matches!(token, TokenError::PinRefused(_) | TokenError::PinAtStake(_))
    }
}

impl MasterKey {
    /// Reads it, or finds it in its token. It is made, in the data folder or in the token, if it is not there and
    /// nothing in the database is encrypted yet, or all that is will be taken over.
    pub(crate) async fn load(
        places: MasterKeyPlaces<'_>,
        store: &Store,
    ) -> Result<Self, MasterKeyError> {
        let previous = match places.previous {
            Some(place) => Some(Box::new(Self::at(place, false).await?)),
            None => None,
        };
        let known = store.read().await?.master_keys().await?;
        let before = previous.as_ref().map(|key| &key.id);
        let may_make = known.iter().all(|id| Some(id) == before);
        let key = match places.named {
            Some(place) => Self::at(place, may_make).await?,
            None => Self::in_file(&places.folder.join(FILE), may_make)?,
        };
        Ok(Self { previous, ..key })
    }

    /// Where an operator says. A file is never made there: it may be a mount that is late.
    async fn at(place: &Path, may_make_in_token: bool) -> Result<Self, MasterKeyError> {
        let Some(uri) = TokenUri::of(place) else {
            return Ok(Self::in_file(place, false)?);
        };
        let (id, key) = TokenKey::find(uri?, may_make_in_token).await?;
        Ok(Self::held(id, Holder::Token(key)))
    }

    fn in_file(path: &Path, may_make: bool) -> Result<Self, KeyError> {
        let key = FileKey::read(path, may_make)?;
        Ok(Self::held(key.id(), Holder::File(key)))
    }

    fn held(id: String, holder: Holder) -> Self {
        Self {
            id,
            holder,
            previous: None,
        }
    }

    /// Whether it can be used now, as far as is known.
    pub(crate) fn is_there(&self) -> bool {
        match &self.holder {
            Holder::File(_) => true,
            Holder::Token(key) => key.is_there(),
        }
    }

    /// Looks whether everything in the database is encrypted under it, and takes over what is encrypted under the
    /// one before, which is forgotten then.
    pub(crate) async fn begin(&mut self, store: &Store) -> Result<(), MasterKeyError> {
        let previous = self.previous.take();
        let mut tx = store.write().await?;
        let known = tx.master_keys().await?;
        if known.iter().all(|id| *id == self.id) {
            return Ok(());
        }
        let Some(previous) =
            previous.filter(|before| known.iter().all(|id| *id == self.id || *id == before.id))
        else {
            return self.agrees(&mut tx).await;
        };
        store.overwrite_deleted(&mut tx).await?;
        let mut count = 0_usize;
        for kept in tx.wrapped_versions().await? {
            if kept.wrapped.master == previous.id {
                let purpose = purpose_of(&kept);
                let secret = previous.open(&purpose, &kept.wrapped).await?;
                let wrapped = self.wrap(&purpose, &secret).await?;
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
        store.scrub().await;
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

    /// Encrypts `secret` for a purpose, which it must be asked back for. A token may take seconds: not to be called
    /// while anything is locked.
    pub(crate) async fn wrap(
        &self,
        purpose: &[u8],
        secret: &[u8],
    ) -> Result<Wrapped, MasterKeyError> {
        let bytes = match &self.holder {
            Holder::File(key) => key.wrap(purpose, secret)?,
            Holder::Token(key) => key.wrap(purpose, secret).await?,
        };
        Ok(Wrapped {
            master: self.id.clone(),
            bytes: bytes.ok_or_else(|| self.altered())?,
        })
    }

    /// Decrypts what was encrypted for this purpose. As slow as [`Self::wrap`].
    pub(crate) async fn open(
        &self,
        purpose: &[u8],
        wrapped: &Wrapped,
    ) -> Result<Zeroizing<Vec<u8>>, MasterKeyError> {
        if wrapped.master != self.id {
            return Err(self.other(wrapped.master.clone()));
        }
        let opened = match &self.holder {
            Holder::File(key) => key.open(purpose, &wrapped.bytes),
            Holder::Token(key) => key.open(purpose, &wrapped.bytes).await?,
        };
        opened.ok_or_else(|| self.altered())
    }

    fn altered(&self) -> MasterKeyError {
        MasterKeyError::Altered(self.id.clone())
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
    use crate::store::{KeyState, LayerKeyRecord, Origin};

    fn key(byte: u8) -> MasterKey {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        crate::keys::write_private(&path, hex::encode([byte; 32]).as_bytes()).unwrap();
        MasterKey::in_file(&path, false).unwrap()
    }

    #[tokio::test]
    async fn what_is_wrapped_opens_for_its_purpose_alone() {
        let master = key(7);
        let wrapped = master.wrap(b"a", &[9; 32]).await.unwrap();
        assert_eq!(**master.open(b"a", &wrapped).await.unwrap(), [9; 32]);
        assert!(!wrapped.bytes.windows(32).any(|part| part == [9; 32]));
        assert!(matches!(
            master.open(b"b", &wrapped).await,
            Err(MasterKeyError::Altered(_))
        ));
        assert!(matches!(
            key(8).open(b"a", &wrapped).await,
            Err(MasterKeyError::Other { .. })
        ));
        for at in 0..wrapped.bytes.len() {
            let mut changed = wrapped.clone();
            changed.bytes[at] ^= 1;
            assert!(master.open(b"a", &changed).await.is_err(), "byte {at}");
        }
        assert_ne!(wrapped, master.wrap(b"a", &[9; 32]).await.unwrap());
    }

    #[tokio::test]
    async fn none_is_made_while_anything_is_encrypted_under_it_whichever_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let store = Store::open(&format!("sqlite:{}", folder.join("database").display())).await;
        let store = store.unwrap();
        let before = folder.join("before");
        crate::keys::write_private(&before, hex::encode([7; 32]).as_bytes()).unwrap();
        let load = async || {
            let places = MasterKeyPlaces {
                folder,
                named: None,
                previous: Some(&before),
            };
            MasterKey::load(places, &store).await
        };
        let keep = async |name: &str, master: &MasterKey| {
            let mut tx = store.write().await.unwrap();
            let version = WrappedVersion {
                name: name.parse().unwrap(),
                version: 1,
                wrapped: master.wrap(b"a", &[9; 32]).await.unwrap(),
            };
            let record = LayerKeyRecord {
                name: version.name.clone(),
                policy: "payments".parse().unwrap(),
                registered: false,
                state: KeyState::Active,
                version: 0,
                created_at: 1,
                destroyed_at: None,
            };
            assert!(tx.add_layer_key(&record).await.unwrap());
            tx.add_key_version(&version, Origin::Made, 1).await.unwrap();
            tx.commit().await.unwrap();
        };
        keep("first", &key(7)).await;
        let made = load().await.unwrap();
        keep("second", &made).await;
        std::fs::remove_file(folder.join(FILE)).unwrap();
        let missing = load().await.err();
        let missing = matches!(missing, Some(MasterKeyError::File(KeyError::Missing(_))));
        assert!(missing && !folder.join(FILE).exists(), "another was made");
    }

    #[tokio::test]
    async fn an_error_says_nothing_of_the_key() {
        let wrapped = key(8).wrap(b"a", &[9; 32]).await.unwrap();
        let said = format!("{:?}", key(7).open(b"a", &wrapped).await.err().unwrap());
        assert!(!said.contains(&hex::encode([7; 32])) && !said.contains("7, 7"));
    }
}
