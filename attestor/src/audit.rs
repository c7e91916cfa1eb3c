//! The audit log: what is written into it, its signed head, and its export.
//!
//! An entry is appended in the transaction that makes it true: both are durable, or neither.

mod actor;
mod event;
mod export;
mod reason;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::transparency::LeafHash;

pub(crate) use actor::{Actor, Staff};
pub(crate) use event::{Appraised, Custodian, Event, ListImported, Moved, NodeProof, WebhooksSeen};
pub(crate) use export::Export;
pub(crate) use reason::Reason;

use crate::heads::Heads;
use crate::log_key::{LogKey, LogKeyError};
use crate::random;
use crate::store::{Group, Store, StoreError, Tx};

/// An entry before it is appended: its exact bytes.
pub(crate) struct Entry(Vec<u8>);

impl Entry {
    /// The entry that says that `actor` did `event` at `now`.
    pub(crate) fn new(event: &Event, actor: &Actor, now: i64) -> Result<Self, StoreError> {
        event::encode(random::bytes()?, event, actor, now)
            .map(Self)
            .map_err(|_| StoreError::Malformed("audit entry"))
    }

    /// How results, admission answers and releases name it.
    pub(crate) fn leaf(&self) -> Sha256Digest {
        LeafHash::of(&self.0).digest()
    }

    /// Appends it within `tx` and returns its index: the order in which commits took effect.
    pub(crate) async fn append(&self, tx: &mut Tx) -> Result<u64, StoreError> {
        tx.append(&self.0).await
    }

    /// Appends it with what else `group` writes, and returns its index.
    pub(crate) fn append_to(&self, group: &mut Group) -> Result<u64, StoreError> {
        group.append(&self.0)
    }
}

/// Appends, within `tx`, the entry that says that `actor` did `event` at `now`; returns its index.
pub(crate) async fn append(
    tx: &mut Tx,
    event: &Event,
    actor: &Actor,
    now: i64,
) -> Result<u64, StoreError> {
    Entry::new(event, actor, now)?.append(tx).await
}

/// The same, of what is true without a change of the database.
pub(crate) async fn append_alone(
    store: &Store,
    event: &Event,
    actor: &Actor,
    now: i64,
) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    append(&mut tx, event, actor, now).await?;
    tx.commit().await
}

/// Signs the head of the log as it stands. It was committed, and is kept outside of the database before it is
/// signed; Ed25519 is deterministic, so one size never gets two signatures of one key.
pub(crate) async fn checkpoint(
    store: &Store,
    heads: &Heads,
    key: &LogKey,
) -> Result<String, LogKeyError> {
    let (mut tx, signer) = key.open(store, heads).await?;
    Ok(signer.sign(&heads.advance(&mut tx).await?))
}
