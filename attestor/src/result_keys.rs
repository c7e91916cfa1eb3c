//! The key that signs attestation results: which one it is, its exchange, and its revocation.
//!
//! The private half is a file of the data folder, the public halves of all that ever signed are in the database. A
//! key that another took the place of still verifies what it signed, until it is revoked.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use touchstone_evidence::result::{AttestationResult, NodeStatement, ResultSigner};

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::keys::{self, KeyError};
use crate::store::{ResultKeyRecord, Store, StoreError, Tx};

/// The file of the key that signs.
const CURRENT: &str = "result.key";
/// The file of a key that is about to.
const NEXT: &str = "result.key.next";

/// Why a key was not exchanged or revoked, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResultKeyError {
    #[error(
        "`{CURRENT}` is not a key that the database knows (`{0}`); restore the key files that belong to it, or copy \
         them from the attestor on which the key was exchanged"
    )]
    Foreign(String),
    #[error(
        "the key `{0}` in `{CURRENT}` was revoked; copy the file from the attestor on which the key was exchanged"
    )]
    Revoked(String),
    #[error("no key is called `{0}`; `touchstone keys` shows them")]
    Unknown(String),
    #[error(
        "the key `{0}` signs results; put another in its place first, with `touchstone keys rotate result`"
    )]
    InUse(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ResultKeyError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Revoked(_) => "result-key-revoked",
            Self::Unknown(_) => "result-key-unknown",
            Self::InUse(_) => "result-key-in-use",
            Self::Foreign(_) | Self::Key(_) | Self::Store(_) => "internal",
        }
    }
}

/// The key that signs.
pub(crate) struct ResultKeys {
    folder: PathBuf,
    signer: RwLock<Arc<ResultSigner>>,
    /// Ids of keys that must not sign: revoked, or of no database that is known here.
    revoked: RwLock<HashSet<String>>,
    /// One exchange at a time.
    exchange: Mutex<()>,
}

impl ResultKeys {
    /// Reads the key, or makes one. Whether the database knows it is seen by [`ResultKeys::begin`].
    pub(crate) fn load(folder: &Path) -> Result<Self, KeyError> {
        Ok(Self {
            signer: RwLock::new(Arc::new(read(&folder.join(CURRENT))?)),
            folder: folder.to_owned(),
            revoked: RwLock::default(),
            exchange: Mutex::new(()),
        })
    }

    /// The compact JWS of `result`.
    pub(crate) fn sign(&self, result: &AttestationResult) -> Result<String, ResultKeyError> {
        let signed = self.signer_in_force()?.sign(result);
        Ok(signed.map_err(|_| StoreError::Malformed("result"))?)
    }

    /// The compact JWS of what is said of a node.
    pub(crate) fn sign_node(&self, statement: &NodeStatement) -> Result<String, ResultKeyError> {
        let signed = self.signer_in_force()?.sign_node(statement);
        Ok(signed.map_err(|_| StoreError::Malformed("statement on a node"))?)
    }

    fn signer_in_force(&self) -> Result<Arc<ResultSigner>, ResultKeyError> {
        let signer = self.signer();
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        if !revoked.is_empty() {
            let id = signer.public_key().id();
            if revoked.contains(&id) {
                return Err(ResultKeyError::Revoked(id));
            }
        }
        Ok(signer)
    }

    fn stop_signing_with(&self, id: String) {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        revoked.insert(id);
    }

    fn signer(&self) -> Arc<ResultSigner> {
        Arc::clone(&self.signer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends an exchange that was cut off, and looks whether the database knows the key: a new database gets it, and
    /// so does one of a version that kept no list.
    pub(crate) async fn begin(&self, store: &Store) -> Result<(), ResultKeyError> {
        let mut tx = store.write().await?;
        let known = tx.result_keys().await?;
        self.end_exchange(&known)?;
        if known.is_empty() {
            let event = add(&mut tx, &self.signer(), None, clock::now()).await?;
            audit::append(&mut tx, &event, &Actor::Attestor, clock::now()).await?;
        } else {
            self.look(&known)?;
        }
        Ok(tx.commit().await?)
    }

    /// A next key that the database knows takes its place; one that it does not know was never said to anybody.
    fn end_exchange(&self, known: &[ResultKeyRecord]) -> Result<(), ResultKeyError> {
        let next = self.folder.join(NEXT);
        if !next.exists() {
            return Ok(());
        }
        let signer = read(&next)?;
        let id = signer.public_key().id();
        if !known.iter().any(|key| key.id == id) {
            return Ok(keys::remove(&next)?);
        }
        keys::rename(&next, &self.folder.join(CURRENT))?;
        *self.signer.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(signer);
        Ok(())
    }

    /// Whether it may sign, by what the database says now. An older key may, until it is revoked: another attestor
    /// may have been given a new one first.
    pub(crate) fn look(&self, known: &[ResultKeyRecord]) -> Result<(), ResultKeyError> {
        let id = self.signer().public_key().id();
        match known.iter().find(|key| key.id == id) {
            None => {
                self.stop_signing_with(id.clone());
                Err(ResultKeyError::Foreign(id))
            }
            Some(key) if key.revoked_at.is_some() => {
                self.stop_signing_with(id.clone());
                Err(ResultKeyError::Revoked(id))
            }
            Some(key) if key.until.is_some() => {
                tracing::warn!(
                    "results are signed with `{id}`, and another key took its place; copy `{CURRENT}` here"
                );
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }
}

/// Puts a new key in the place of the one that signs. The file is written first, and takes its place once the
/// database knows it: whatever is cut off, one of both signs, and everybody can look it up.
pub(crate) async fn rotate(
    attestor: &Attestor,
    actor: &Actor,
) -> Result<ResultKeyRecord, ResultKeyError> {
    let keys = &attestor.keys.result;
    let _alone = keys.exchange.lock().await;
    let next = keys.folder.join(NEXT);
    let signer = keys::on_disk(move || {
        if next.exists() {
            keys::remove(&next)?;
        }
        read(&next)
    })
    .await??;
    let before = keys.signer().public_key().id();
    let mut tx = attestor.store.write().await?;
    let event = add(&mut tx, &signer, Some(before), clock::now()).await?;
    audit::append(&mut tx, &event, actor, clock::now()).await?;
    let known = tx.result_keys().await?;
    tx.commit().await?;
    let signing = Arc::clone(keys);
    keys::on_disk(move || signing.end_exchange(&known)).await??;
    // What others did since the commit may concern the new one.
    let known = attestor.store.read().await?.result_keys().await?;
    keys.look(&known)?;
    let id = signer.public_key().id();
    let made = known.into_iter().find(|key| key.id == id);
    made.ok_or(ResultKeyError::Foreign(id))
}

/// Says that results of a key no longer count.
pub(crate) async fn revoke(
    attestor: &Attestor,
    actor: &Actor,
    id: &str,
) -> Result<ResultKeyRecord, ResultKeyError> {
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    let known = tx.result_keys().await?;
    let Some(key) = known.into_iter().find(|key| key.id == id) else {
        let shown: String = id.chars().take(40).collect();
        return Err(ResultKeyError::Unknown(shown.escape_debug().to_string()));
    };
    if key.until.is_none() {
        return Err(ResultKeyError::InUse(key.id));
    }
    if key.revoked_at.is_some() {
        return Ok(key);
    }
    tx.revoke_result_key(&key.id, now).await?;
    let event = Event::ResultKeyRevoked {
        key: key.id.clone(),
    };
    audit::append(&mut tx, &event, actor, clock::now()).await?;
    tx.commit().await?;
    attestor.keys.result.stop_signing_with(key.id.clone());
    Ok(ResultKeyRecord {
        revoked_at: Some(now),
        ..key
    })
}

async fn add(
    tx: &mut Tx,
    signer: &ResultSigner,
    before: Option<String>,
    now: i64,
) -> Result<Event, StoreError> {
    let key = signer.public_key();
    tx.add_result_key(&key.id(), &key.to_bytes(), now).await?;
    Ok(Event::ResultKeyAdded {
        key: key.id(),
        public_key: hex::encode(key.to_bytes()),
        before,
    })
}

fn read(path: &Path) -> Result<ResultSigner, KeyError> {
    Ok(ResultSigner::from_secret(&*keys::secret(path)?))
}
