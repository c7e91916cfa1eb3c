//! The audit log: what is written into it, its signed head, and its export.
//!
//! An entry is appended in the transaction that makes it true: both are durable, or neither.

mod actor;
mod event;
mod reason;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::transparency::{
    LeafHash, checkpoint_line, entry_line, handover_line, header_line,
};

pub(crate) use actor::{Actor, Staff};
pub(crate) use event::{Appraised, Event, ListImported};
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

/// The whole log as JSON Lines: header, entries with the handovers between them, checkpoint, all of one moment.
pub(crate) async fn export(
    store: &Store,
    heads: &Heads,
    key: &LogKey,
) -> Result<String, LogKeyError> {
    let (mut tx, signer) = key.open(store, heads).await?;
    let head = heads.advance(&mut tx).await?;
    let mut exchanges = tx.key_exchanges().await?.into_iter().peekable();
    let mut lines = header_line(signer.verifier_key());
    lines.push('\n');
    let mut index = 0;
    while index < head.size {
        let page = tx.entries(index).await?;
        if page.is_empty() {
            return Err(StoreError::Malformed("audit log: entries are missing").into());
        }
        for body in page {
            let body = String::from_utf8(body).map_err(|_| StoreError::Malformed("audit entry"))?;
            lines.push_str(&entry_line(index, &body));
            lines.push('\n');
            if let Some(exchange) = exchanges.next_if(|exchange| exchange.entry == index) {
                let note = exchange.note.ok_or(StoreError::Malformed("handover"))?;
                lines.push_str(&handover_line(&note));
                lines.push('\n');
            }
            index = index.saturating_add(1);
        }
    }
    lines.push_str(&checkpoint_line(&signer.sign(&head)));
    lines.push('\n');
    Ok(lines)
}
