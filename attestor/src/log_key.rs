//! The key that signs the heads of the audit log, and its exchange.
//!
//! Invariant: the database says which key the log is at, and the key in the files signs only while it is that one,
//! seen in the same snapshot as the head. So a replica that still has the old key signs nothing beyond the exchange.

mod exchange;
mod files;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::RwLock;
use touchstone_evidence::transparency::{CheckpointSigner, MAX_HANDOVERS};

use crate::heads::{HeadError, Heads};
use crate::keys::KeyError;
use crate::store::{KeyExchange, Store, StoreError, Tx};
use files::KeyFiles;

/// Why the log's key cannot be used, or not be exchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogKeyError {
    #[error(
        "the audit log in the database was begun with another key than `{own}`, with `{log}`; restore the key files \
         that belong to this database"
    )]
    OtherKey { own: String, log: String },
    #[error(
        "the audit log is at the key `{log}` since its entry {entry}, and `checkpoint.key` holds another one, \
         `{own}`, which signs nothing more; copy `checkpoint.key` from the attestor where it was exchanged, or from \
         a backup made since, and start this attestor again"
    )]
    Exchanged {
        own: String,
        log: String,
        entry: u64,
    },
    #[error(
        "the audit log's key was exchanged at its entry {0}, and the database is from before the old key handed over; \
         bring back a later one"
    )]
    NoHandover(u64),
    #[error(
        "the log's key is `{current}`, so `{asked}` cannot be exchanged; ask `touchstone keys`"
    )]
    NotCurrent { asked: String, current: String },
    #[error(
        "the log's key was exchanged {MAX_HANDOVERS} times, and auditors follow no more; begin a new log with an \
         empty database"
    )]
    UsedUp,
    #[error(transparent)]
    File(#[from] KeyError),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The key of the log.
pub(crate) struct LogKey {
    files: KeyFiles,
    name: String,
    /// Locked before a transaction is begun, never within one.
    signer: RwLock<Arc<CheckpointSigner>>,
}

impl LogKey {
    /// For a log that is about to begin. Makes the key if there is none.
    pub(crate) fn begin(folder: &Path) -> Result<Self, LogKeyError> {
        let files = KeyFiles::of(folder);
        let signer = files.current_or_new()?;
        Ok(Self::new(files, signer))
    }

    /// For a log whose first entry names the key `first`. `tx` writes: no exchange is under way beside it.
    pub(crate) async fn load(
        folder: &Path,
        first: Option<&str>,
        tx: &mut Tx,
    ) -> Result<Self, LogKeyError> {
        let files = KeyFiles::of(folder);
        let exchange = tx.last_key_exchange().await?;
        let log = exchange.as_ref().map(|last| last.checkpoint_key.as_str());
        let log = log.or(first).unwrap_or_default();
        let is_log = |signer: &CheckpointSigner| is(signer, log);
        // The last steps of an exchange that broke off. The old key is needed until the handover is kept. A next key
        // of which this database knows nothing stays: another database, with lost entries, may know it.
        let next = files.next()?.filter(is_log);
        if next.is_some() && exchange.as_ref().is_some_and(|last| last.note.is_some()) {
            files.adopt_next()?;
        }
        let signer = files.current()?;
        if next.is_none() || is_log(&signer) {
            must_be(&signer, log, exchange.as_ref())?;
        }
        Ok(Self::new(files, signer))
    }

    fn new(files: KeyFiles, signer: CheckpointSigner) -> Self {
        Self {
            files,
            name: signer.verifier_key().name().to_owned(),
            signer: RwLock::new(Arc::new(signer)),
        }
    }

    /// The log's name, which no exchange changes.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The public half, as auditors keep it.
    pub(crate) async fn verifier_key(&self) -> String {
        self.signer.read().await.verifier_key().to_string()
    }

    /// The log as it stands, and the key that may sign its head.
    pub(crate) async fn open(
        &self,
        store: &Store,
        heads: &Heads,
    ) -> Result<(Tx, Arc<CheckpointSigner>), LogKeyError> {
        match self.snapshot(store).await {
            Err(LogKeyError::Exchanged { .. }) => {
                self.settle(store, heads).await?;
                self.snapshot(store).await
            }
            outcome => outcome,
        }
    }

    async fn snapshot(&self, store: &Store) -> Result<(Tx, Arc<CheckpointSigner>), LogKeyError> {
        let signer = self.signer.read().await;
        let mut tx = store.read().await?;
        match tx.last_key_exchange().await? {
            Some(last) if !is(&signer, &last.checkpoint_key) => Err(exchanged(&signer, &last)),
            _ => Ok((tx, Arc::clone(&signer))),
        }
    }
}

/// `last`: the exchange since which the log is at `log`; `None`: it began with it.
fn must_be(
    signer: &CheckpointSigner,
    log: &str,
    last: Option<&KeyExchange>,
) -> Result<(), LogKeyError> {
    match (is(signer, log), last) {
        (true, Some(last)) if last.note.is_none() => Err(LogKeyError::NoHandover(last.entry)),
        (true, _) => Ok(()),
        (false, Some(last)) => Err(exchanged(signer, last)),
        (false, None) => Err(LogKeyError::OtherKey {
            own: signer.verifier_key().to_string(),
            log: log.to_owned(),
        }),
    }
}

fn is(signer: &CheckpointSigner, key: &str) -> bool {
    signer.verifier_key().to_string() == key
}

fn exchanged(signer: &CheckpointSigner, last: &KeyExchange) -> LogKeyError {
    LogKeyError::Exchanged {
        own: signer.verifier_key().to_string(),
        log: last.checkpoint_key.clone(),
        entry: last.entry,
    }
}
