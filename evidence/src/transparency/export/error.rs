//! Why an export does not verify: the first thing that is wrong with it.

use super::super::{CheckpointError, FrontierError, TreeHead, VerifierKeyError};
use super::{FORMAT, FORMAT_WITHOUT_HANDOVERS, HandoverError, MAX_HANDOVERS, MAX_LINE};

/// The first thing that is wrong with an export. Lines count from 1, indices from 0.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no line at all.
    #[error("the export is empty")]
    Empty,
    /// A line is not what the format puts there.
    #[error("line {line} is malformed")]
    Malformed {
        /// Where.
        line: usize,
        /// What the JSON reader found.
        source: serde_json::Error,
    },
    /// A line is longer than any entry.
    #[error("line {line} has more than {MAX_LINE} bytes")]
    LongLine {
        /// Where.
        line: usize,
    },
    /// The header names another format or version.
    #[error("the format is `{0}`, this reads `{FORMAT_WITHOUT_HANDOVERS}` and `{FORMAT}`")]
    Format(String),
    /// The key in the header does not parse. Asked only under [`ExportTrust::KeyInFile`].
    #[error("the verifier key in the header cannot be used")]
    KeyInFile(#[from] VerifierKeyError),
    /// The file ends before its checkpoint.
    #[error("the export is cut off: line {line} is no checkpoint, and nothing follows it")]
    Truncated {
        /// The last line.
        line: usize,
    },
    /// Something follows the checkpoint.
    #[error("line {line} follows the checkpoint")]
    AfterCheckpoint {
        /// Where.
        line: usize,
    },
    /// The checkpoint is malformed, of another log, forged, or signed by another key.
    #[error("the checkpoint does not hold")]
    Checkpoint(#[from] CheckpointError),
    /// An exchange of the key does not hold: nothing after it can be believed.
    #[error("exchange {exchange} of the log's key (entry {index}) does not hold")]
    Handover {
        /// Which one, from 1.
        exchange: usize,
        /// The entry that names the new key.
        index: u64,
        /// What is wrong.
        source: HandoverError,
    },
    /// A handover stands after no entry that exchanges the key.
    #[error("line {line} is a handover, and the entry before it exchanges no key")]
    StrayHandover {
        /// Where.
        line: usize,
    },
    /// More exchanges than are followed.
    #[error("the log's key was exchanged more than {MAX_HANDOVERS} times")]
    ManyHandovers,
    /// The checkpoint is signed by a key that may sign no more.
    #[error(
        "the checkpoint is signed by `{signer}`, which was exchanged: from {from} entries on the key is `{current}`"
    )]
    ExchangedKey {
        /// Who signed.
        signer: String,
        /// Who should have.
        current: String,
        /// Size of the handover to that key.
        from: u64,
    },
    /// The reader's key is none of the log's.
    #[error("`{given}` never was the key of this log, which began with `{first}`")]
    StrangeKey {
        /// The reader's key, or the file's.
        given: String,
        /// The first key of the log.
        first: String,
    },
    /// The entry's bytes are not those of the leaf hash beside them.
    #[error("entry {index} (line {line}) was edited")]
    Edited {
        /// The entry.
        index: u64,
        /// Where.
        line: usize,
    },
    /// An index is absent from the file.
    #[error("entry {index} was removed: it is missing at line {line}")]
    Removed {
        /// The entry.
        index: u64,
        /// Where it should stand.
        line: usize,
    },
    /// An index occurs again.
    #[error("line {line} was inserted: entry {index} stands there a second time")]
    Inserted {
        /// The entry.
        index: u64,
        /// Where.
        line: usize,
    },
    /// An index stands at another's place, and its own occurs elsewhere.
    #[error("entries were reordered: line {line} holds entry {found}, not {expected}")]
    Reordered {
        /// The index that belongs there.
        expected: u64,
        /// The index that stands there.
        found: u64,
        /// Where.
        line: usize,
    },
    /// Fewer entries than were signed: taken out and renumbered, or cut off at the end.
    #[error("the checkpoint signs {signed} entries, the file holds only {found}")]
    Missing {
        /// Size in the checkpoint.
        signed: u64,
        /// Entries in the file.
        found: u64,
    },
    /// More entries than were signed: put in and renumbered, or appended.
    #[error("the checkpoint signs {signed} entries, the file holds {found}")]
    Surplus {
        /// Size in the checkpoint.
        signed: u64,
        /// Entries in the file.
        found: u64,
    },
    /// The entries agree with their own leaf hashes and not with the signed root: they were altered
    /// together with the hashes, or the checkpoint is of a fork. Which entry it is cannot be told.
    #[error("the entries hash to `{}`, the checkpoint signs `{}`", .computed.root, .signed.root)]
    Root {
        /// What was signed.
        signed: TreeHead,
        /// What the file holds.
        computed: TreeHead,
    },
    /// The log is now shorter than a head that the reader kept.
    #[error("the log was rolled back: it had {known} entries, now it has {found}")]
    RolledBack {
        /// Size of the head kept.
        known: u64,
        /// Entries in the file.
        found: u64,
    },
    /// The log no longer begins with the tree that the reader kept a head of: history was
    /// rewritten, and signed anew with the true key.
    #[error("history was rewritten: the first {} entries no longer hash to `{}`", .known.size, .known.root)]
    Forked {
        /// The head kept.
        known: TreeHead,
    },
    /// The file holds more entries than a tree can.
    #[error("the tree cannot be rebuilt")]
    Tree(#[from] FrontierError),
}

impl ExportError {
    /// Whether the file does not even begin as an export does: nobody altered a log, this is none.
    #[must_use]
    pub fn is_no_export(&self) -> bool {
        matches!(
            self,
            Self::Empty
                | Self::Format(_)
                | Self::Malformed { line: 1, .. }
                | Self::LongLine { line: 1 }
        )
    }
}
