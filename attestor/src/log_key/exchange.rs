//! The exchange of the log's key, in steps each of which may be the last of this process: the new key is in a file of
//! its own; the entry that names it is committed, and **from here on the log is at the new key**; the handover, signed
//! by both, is in the database; the old key is overwritten, and the new file takes its place. [`LogKey::settle`] does
//! the last two for whoever finds them undone.

use std::sync::Arc;

use serde::Deserialize;
use touchstone_evidence::transparency::{
    CheckpointSigner, Frontier, LeafHash, MAX_HANDOVERS, TreeHead,
};

use super::{LogKey, LogKeyError, exchanged, is};
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::heads::{self, HeadError, Heads};
use crate::keys::on_disk;
use crate::kill_points::{self, Step};
use crate::store::{KeyExchange, Store, StoreError, Tx};

/// Most characters that are shown of a key that somebody asked for: any key of a log of ours is shorter.
const ASKED_MAX: usize = 120;

/// An exchange that took place.
#[derive(Debug)]
pub(crate) struct Exchanged {
    /// Index of the entry that says so.
    pub(crate) entry: u64,
    pub(crate) checkpoint_key: String,
    pub(crate) replaced: String,
}

impl LogKey {
    /// Exchanges the key `from` for a new one. A key that is not the log's is not exchanged: who asks twice gets one
    /// exchange.
    pub(crate) async fn exchange(
        &self,
        store: &Store,
        heads: &Heads,
        actor: &Actor,
        from: &str,
    ) -> Result<Exchanged, LogKeyError> {
        let mut signer = self.signer.write().await;
        self.settle_held(&mut signer, store, heads).await?;
        let done = self.name_next(&signer, store, actor, from).await?;
        self.settle_held(&mut signer, store, heads).await?;
        Ok(done)
    }

    /// Ends an exchange that is not at its end; does nothing else.
    pub(crate) async fn settle(&self, store: &Store, heads: &Heads) -> Result<(), LogKeyError> {
        let mut signer = self.signer.write().await;
        self.settle_held(&mut signer, store, heads).await
    }

    /// Steps 1 and 2.
    async fn name_next(
        &self,
        signer: &CheckpointSigner,
        store: &Store,
        actor: &Actor,
        from: &str,
    ) -> Result<Exchanged, LogKeyError> {
        // Writers come one after the other: what an earlier exchange made is not overwritten.
        let mut tx = store.write().await?;
        let before = tx.key_exchanges().await?;
        if let Some(last) = before
            .last()
            .filter(|last| !is(signer, &last.checkpoint_key))
        {
            return Err(exchanged(signer, last));
        }
        let replaced = signer.verifier_key().to_string();
        if from != replaced {
            return Err(LogKeyError::NotCurrent {
                asked: from.escape_debug().take(ASKED_MAX).collect(),
                current: replaced,
            });
        }
        if before.len() >= MAX_HANDOVERS {
            return Err(LogKeyError::UsedUp);
        }
        let (files, name) = (self.files.clone(), self.name.clone());
        let next = on_disk(move || files.make_next(&name)).await??;
        kill_points::pass(Step::KeyMade);

        let checkpoint_key = next.verifier_key().to_string();
        let event = Event::CheckpointKeyRotated {
            checkpoint_key: checkpoint_key.clone(),
            replaced: replaced.clone(),
        };
        let entry = Entry::new(&event, actor, clock::now())?
            .append(&mut tx)
            .await?;
        tx.add_key_exchange(entry, &checkpoint_key).await?;
        // Commit point.
        tx.commit().await?;
        kill_points::pass(Step::KeyNamed);
        Ok(Exchanged {
            entry,
            checkpoint_key,
            replaced,
        })
    }

    /// Steps 3 and 4, as far as they are undone. `signer` becomes the new key.
    async fn settle_held(
        &self,
        signer: &mut Arc<CheckpointSigner>,
        store: &Store,
        heads: &Heads,
    ) -> Result<(), LogKeyError> {
        let mut tx = store.read().await?;
        let Some(last) = tx.last_key_exchange().await? else {
            return Ok(());
        };
        if is(signer, &last.checkpoint_key) {
            return Ok(());
        }
        let files = self.files.clone();
        let next = on_disk(move || files.next()).await??;
        let next = next.filter(|next| is(next, &last.checkpoint_key));
        let next = next.ok_or_else(|| exchanged(signer, &last))?;
        if last.note.is_none() {
            let head = head_of(&mut tx, &last, signer, heads).await?;
            let note = signer.hand_over(&head, &next);
            let mut tx = store.write().await?;
            tx.keep_handover(last.entry, &note).await?;
            tx.commit().await?;
            kill_points::pass(Step::HandedOver);
        }
        let files = self.files.clone();
        on_disk(move || files.adopt_next()).await??;
        *signer = Arc::new(next);
        tracing::info!(
            "the audit log is at the key `{}` from entry {} on",
            last.checkpoint_key,
            last.entry
        );
        Ok(())
    }
}

/// What the handover signs: the head whose last entry is the exchange. The log that `tx` sees is kept as signed
/// before, and is built anew from its first leaf, so that this head is of no other log.
async fn head_of(
    tx: &mut Tx,
    exchange: &KeyExchange,
    signer: &CheckpointSigner,
    heads: &Heads,
) -> Result<TreeHead, LogKeyError> {
    const BROKEN: StoreError = StoreError::Malformed("exchange of the log's key");
    heads.advance(tx).await?;
    let whole = tx.frontier().await?;
    let entries = tx.entries(exchange.entry).await?;
    let body = entries.first().ok_or(BROKEN)?;
    let said: Said = serde_json::from_slice(body).map_err(|_| BROKEN)?;
    if said.checkpoint_key != exchange.checkpoint_key || !is(signer, &said.replaced) {
        return Err(BROKEN.into());
    }
    let mut tree = heads::grow(tx, Frontier::empty(), exchange.entry).await?;
    tree.append(LeafHash::of(body)).map_err(|_| BROKEN)?;
    let head = tree.head();
    if heads::grow(tx, tree, whole.size()).await? != whole {
        let signed = whole.size();
        return Err(HeadError::Forked { signed }.into());
    }
    Ok(head)
}

/// The entry of an exchange.
#[derive(Deserialize)]
struct Said {
    checkpoint_key: String,
    replaced: String,
}
