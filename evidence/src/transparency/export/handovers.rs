//! Exchanges of the log's key: the entries that name a new key, the handovers that old and new key signed, and
//! whose key signs which heads.
//!
//! A handover is the head whose last entry is the exchange. What the old key says is believed up to there, and
//! there it names its successor: whoever knows any one key of the log thereby knows those after it.

use serde::Deserialize;

use super::super::{
    Checkpoint, CheckpointError, Frontier, TreeHead, VerifiedCheckpoint, VerifierKey,
};
use super::{Entry, ExportError};

/// Most exchanges of the key in one log: one a week for nineteen years. Each costs two signatures to verify.
pub const MAX_HANDOVERS: usize = 1000;

/// The kind of an entry that exchanges the key.
const KIND: &str = "checkpoint-key-rotated";

/// A key of the log, and from which heads on it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInForce {
    key: VerifierKey,
    from: u64,
}

impl KeyInForce {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Size of the smallest head that it signs: of its handover, which its predecessor signed too, or 0.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.from
    }
}

/// Why an exchange of the key does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HandoverError {
    /// The entry does not say from which key to which.
    #[error("the entry does not name the old key and the new one")]
    Entry,
    /// The exchange is not of the key that was in force.
    #[error("the entry takes the place of `{found}`, and the log was at `{expected}`")]
    OtherKey {
        /// The key in force.
        expected: String,
        /// The key that the entry names.
        found: String,
    },
    /// An old key would sign again.
    #[error("`{0}` was the log's key before")]
    Reused(String),
    /// The file holds no handover after the entry.
    #[error("no handover follows the entry")]
    Missing,
    /// The handover is no note.
    #[error("the handover is malformed")]
    Note(#[source] CheckpointError),
    /// The key in force did not sign it.
    #[error("the old key did not sign the handover")]
    Old(#[source] CheckpointError),
    /// The key that follows did not sign it.
    #[error("the new key did not sign the handover")]
    New(#[source] CheckpointError),
    /// It is the head of other entries.
    #[error(
        "the handover is of {} entries that hash to `{}`, the file holds {} that hash to `{}`",
        .signed.size, .signed.root, .computed.size, .computed.root
    )]
    Head {
        /// What both keys signed.
        signed: TreeHead,
        /// What the file holds up to the exchange.
        computed: TreeHead,
    },
}

/// A handover as it stands in the file.
pub(super) struct UntrustedHandover {
    pub(super) line: usize,
    /// How many entries stand before it.
    pub(super) after: u64,
    pub(super) note: String,
}

/// An exchange whose handover both keys signed; not yet that it is the head of these entries.
struct Exchange {
    /// The entry.
    index: u64,
    signed: TreeHead,
}

/// The keys of the log one after the other.
pub(super) struct Keys {
    in_force: Vec<KeyInForce>,
    exchanges: Vec<Exchange>,
}

/// What an entry says of an exchange.
#[derive(Deserialize)]
struct Said {
    kind: String,
    checkpoint_key: Option<String>,
    replaced: Option<String>,
}

impl Keys {
    /// Follows the exchanges in `entries` from key to key; no more of them hold than there are handovers. `trusted`, which the reader has, must be one of the
    /// keys; those before it are believed since it signed what names them.
    pub(super) fn follow(
        entries: &[(usize, Entry)],
        handovers: &[UntrustedHandover],
        trusted: &VerifierKey,
    ) -> Result<Self, ExportError> {
        let mut keys = Self {
            in_force: Vec::new(),
            exchanges: Vec::new(),
        };
        let mut handovers = handovers.iter().peekable();
        for (_, entry) in entries {
            let Some(said) = exchange(entry.body()) else {
                continue;
            };
            let size = entry.index.saturating_add(1);
            if let Some(stray) = handovers.next_if(|handover| handover.after < size) {
                return Err(ExportError::StrayHandover { line: stray.line });
            }
            let handover = handovers.next_if(|handover| handover.after == size);
            keys.exchange(entry.index, &said, handover)
                .map_err(|source| ExportError::Handover {
                    exchange: keys.exchanges.len().saturating_add(1),
                    index: entry.index,
                    source,
                })?;
        }
        if let Some(stray) = handovers.next() {
            return Err(ExportError::StrayHandover { line: stray.line });
        }
        keys.must_hold(trusted)?;
        Ok(keys)
    }

    fn exchange(
        &mut self,
        index: u64,
        said: &Said,
        handover: Option<&UntrustedHandover>,
    ) -> Result<(), HandoverError> {
        let old = key(said.replaced.as_deref())?;
        let new = key(said.checkpoint_key.as_deref())?;
        let first = || KeyInForce {
            key: old.clone(),
            from: 0,
        };
        let current = self.in_force.last().map_or_else(first, Clone::clone);
        if old != current.key {
            return Err(HandoverError::OtherKey {
                expected: current.key.to_string(),
                found: old.to_string(),
            });
        }
        if self.in_force.is_empty() {
            self.in_force.push(current);
        }
        if self.in_force.iter().any(|before| before.key == new) {
            return Err(HandoverError::Reused(new.to_string()));
        }
        let handover = handover.ok_or(HandoverError::Missing)?;
        let note = Checkpoint::parse(handover.note.as_bytes()).map_err(HandoverError::Note)?;
        let signed = *note.verify(&old).map_err(HandoverError::Old)?.head();
        note.verify(&new).map_err(HandoverError::New)?;
        self.exchanges.push(Exchange { index, signed });
        self.in_force.push(KeyInForce {
            key: new,
            from: index.saturating_add(1),
        });
        Ok(())
    }

    /// Without an exchange there is but the reader's key.
    fn must_hold(&mut self, trusted: &VerifierKey) -> Result<(), ExportError> {
        let Some(first) = self.in_force.first() else {
            self.in_force.push(KeyInForce {
                key: trusted.clone(),
                from: 0,
            });
            return Ok(());
        };
        match self.in_force.iter().any(|held| held.key == *trusted) {
            true => Ok(()),
            false => Err(ExportError::StrangeKey {
                given: trusted.to_string(),
                first: first.key.to_string(),
            }),
        }
    }

    /// Checks that the key in force at the end signed the checkpoint. One that was exchanged signs nothing more.
    pub(super) fn verify_last(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<(VerifiedCheckpoint, VerifierKey), ExportError> {
        let (last, before) = self.in_force.split_last().ok_or(ExportError::Empty)?;
        let error = match checkpoint.verify(&last.key) {
            Ok(verified) => return Ok((verified, last.key.clone())),
            Err(error) => error,
        };
        let signed_by = |old: &&KeyInForce| checkpoint.verify(&old.key).is_ok();
        match before.iter().find(signed_by) {
            Some(old) => Err(ExportError::ExchangedKey {
                signer: old.key.to_string(),
                current: last.key.to_string(),
                from: last.from,
            }),
            None => Err(error.into()),
        }
    }

    /// The head of all entries, and on the way there that each handover is the head of those up to its exchange.
    pub(super) fn rebuild(&self, entries: &[(usize, Entry)]) -> Result<TreeHead, ExportError> {
        let mut due = (1_usize..).zip(&self.exchanges).peekable();
        let mut tree = Frontier::empty();
        for (_, entry) in entries {
            tree.append(entry.leaf)?;
            let Some((number, exchange)) = due.next_if(|(_, due)| due.index == entry.index) else {
                continue;
            };
            let (computed, signed) = (tree.head(), exchange.signed);
            if computed != signed {
                return Err(ExportError::Handover {
                    exchange: number,
                    index: exchange.index,
                    source: HandoverError::Head { signed, computed },
                });
            }
        }
        Ok(tree.head())
    }

    /// All keys, the first one first.
    pub(super) fn into_keys(self) -> Vec<KeyInForce> {
        self.in_force
    }
}

/// What `body` says, if it exchanges the key. Most entries do not even hold the word.
fn exchange(body: &str) -> Option<Said> {
    body.contains(KIND)
        .then(|| serde_json::from_str::<Said>(body).ok())
        .flatten()
        .filter(|said| said.kind == KIND)
}

fn key(text: Option<&str>) -> Result<VerifierKey, HandoverError> {
    text.and_then(|text| text.parse().ok())
        .ok_or(HandoverError::Entry)
}

#[cfg(test)]
mod tests;
