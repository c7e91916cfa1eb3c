//! The audit trail as one JSON Lines file that is checked offline: a header, every entry of the log
//! from index 0 (its exact bytes, and its leaf hash beside them), and a signed checkpoint last.
//!
//! Invariant: the file vouches for nothing. Only the verifier key, and heads that the reader kept
//! from before, decide; leaf hashes in the file merely help to name the entry that is wrong.

use serde::{Deserialize, Serialize};

use super::{
    Checkpoint, CheckpointError, Frontier, FrontierError, LeafHash, TreeHead, VerifiedCheckpoint,
    VerifierKey, VerifierKeyError,
};

/// What the header names.
const FORMAT: &str = "touchstone-audit-v1";

/// Longest line accepted, in bytes: far above the largest entry that the log takes.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// Whose key checks the checkpoint.
#[derive(Clone, Copy, Debug)]
pub enum ExportTrust<'a> {
    /// A key that the reader has from elsewhere: the only setting that proves who signed.
    Key(&'a VerifierKey),
    /// The key that the file itself names. This shows that the file is whole and consistent with
    /// itself, not who made it; [`VerifiedExport::signer`] tells which key that was.
    KeyInFile,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    index: u64,
    leaf: LeafHash,
    body: String,
}

/// An export all of whose entries are those, in number, order and content, under a root that the
/// key signed. Made only by [`verify_export`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedExport {
    checkpoint: VerifiedCheckpoint,
    signer: VerifierKey,
    entries: Vec<Entry>,
}

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
    #[error("the format is `{0}`, this reads `{FORMAT}`")]
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    vkey: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLine {
    index: u64,
    leaf: LeafHash,
    entry: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointLine {
    checkpoint: String,
}

/// The first line of an export, without a line feed. The key is a convenience for people.
#[must_use]
pub fn header_line(key: &VerifierKey) -> String {
    serde_json::json!({ "format": FORMAT, "vkey": key.to_string() }).to_string()
}

/// The line of one entry, without a line feed. `body` is the entry exactly as it was hashed.
#[must_use]
pub fn entry_line(index: u64, body: &str) -> String {
    let leaf = LeafHash::of(body.as_bytes());
    serde_json::json!({ "index": index, "leaf": leaf, "entry": body }).to_string()
}

/// The last line of an export, without a line feed. `note` is what
/// [`CheckpointSigner::sign`](super::CheckpointSigner::sign) made.
#[must_use]
pub fn checkpoint_line(note: &str) -> String {
    serde_json::json!({ "checkpoint": note }).to_string()
}

/// Checks a whole export: the checkpoint's signature, every entry against its leaf hash, the
/// indices, and the recomputed root against the signed one; then that the log still begins with
/// each of the `known` heads, which the reader kept from earlier exports or got from witnesses.
///
/// What that proves: these are all entries under the signed root, in order, and none that lay under
/// a known head was changed. What it does not: that the server showed everybody the same root
/// (compare heads), that it recorded what it should have, and, where an entry and its leaf hash
/// were altered together, which entry it was ([`ExportError::Root`]).
///
/// # Errors
/// [`ExportError`], for the first line or entry that is wrong.
pub fn verify_export(
    export: &[u8],
    trust: ExportTrust<'_>,
    known: &[TreeHead],
) -> Result<VerifiedExport, ExportError> {
    let lines = split_lines(export)?;
    let (header, rest) = lines.split_first().ok_or(ExportError::Empty)?;
    let signer = signer(header, trust)?;
    let (checkpoint, entries) = checkpoint(rest, header)?;
    let checkpoint = Checkpoint::parse(checkpoint.as_bytes())?.verify(&signer)?;

    let entries = read_entries(entries)?;
    compare(&rebuild(&entries)?, checkpoint.head())?;
    meet(known, &entries)?;
    Ok(VerifiedExport {
        checkpoint,
        signer,
        entries: entries.into_iter().map(|(_, entry)| entry).collect(),
    })
}

impl VerifiedExport {
    /// The signed head over all entries: worth keeping as a known head for the next export.
    #[must_use]
    pub fn head(&self) -> &TreeHead {
        self.checkpoint.head()
    }

    /// The key that signed: the reader's, or the file's own (see [`ExportTrust`]).
    #[must_use]
    pub fn signer(&self) -> &VerifierKey {
        &self.signer
    }

    /// All entries, by index.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Entry {
    /// Position in the log, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The name of the entry in results, admission answers and releases.
    #[must_use]
    pub fn leaf(&self) -> &LeafHash {
        &self.leaf
    }

    /// The exact text that was hashed: a JSON document.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// A line and its number, from 1.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    bytes: &'a [u8],
}

impl<'a> Line<'a> {
    fn read<T: Deserialize<'a>>(&self) -> Result<T, ExportError> {
        serde_json::from_slice(self.bytes).map_err(|source| ExportError::Malformed {
            line: self.number,
            source,
        })
    }
}

/// The lines of the file. A line feed at the end is optional; an empty line is an error later on.
fn split_lines(export: &[u8]) -> Result<Vec<Line<'_>>, ExportError> {
    if export.is_empty() {
        return Ok(Vec::new());
    }
    let export = export.strip_suffix(b"\n").unwrap_or(export);
    (1..)
        .zip(export.split(|byte| *byte == b'\n'))
        .map(|(number, bytes)| {
            if bytes.len() > MAX_LINE {
                return Err(ExportError::LongLine { line: number });
            }
            Ok(Line { number, bytes })
        })
        .collect()
}

fn signer(header: &Line<'_>, trust: ExportTrust<'_>) -> Result<VerifierKey, ExportError> {
    let header: Header = header.read()?;
    if header.format != FORMAT {
        return Err(ExportError::Format(
            header.format.chars().take(80).collect(),
        ));
    }
    match trust {
        ExportTrust::Key(key) => Ok(key.clone()),
        ExportTrust::KeyInFile => Ok(header.vkey.parse()?),
    }
}

/// The checkpoint, which is the last line, and the entry lines before it.
fn checkpoint<'a, 'b>(
    lines: &'b [Line<'a>],
    header: &Line<'_>,
) -> Result<(String, &'b [Line<'a>]), ExportError> {
    let cut_off = |line: &Line<'_>| ExportError::Truncated { line: line.number };
    let (last, entries) = lines.split_last().ok_or_else(|| cut_off(header))?;
    if let Ok(CheckpointLine { checkpoint }) = last.read() {
        return Ok((checkpoint, entries));
    }
    let is_checkpoint = |line: &Line<'_>| line.read::<CheckpointLine>().is_ok();
    match entries.iter().find(|line| is_checkpoint(line)) {
        Some(line) => Err(ExportError::AfterCheckpoint {
            line: line.number.saturating_add(1),
        }),
        None => Err(cut_off(last)),
    }
}

/// The entries with the numbers of their lines, each equal to its leaf hash, at indices 0, 1, 2 …
fn read_entries(lines: &[Line<'_>]) -> Result<Vec<(usize, Entry)>, ExportError> {
    let mut entries = Vec::with_capacity(lines.len());
    for line in lines {
        let EntryLine { index, leaf, entry } = line.read()?;
        if LeafHash::of(entry.as_bytes()) != leaf {
            return Err(ExportError::Edited {
                index,
                line: line.number,
            });
        }
        let body = entry;
        entries.push((line.number, Entry { index, leaf, body }));
    }
    for (expected, (line, entry)) in (0..).zip(&entries) {
        if entry.index != expected {
            return Err(out_of_order(&entries, expected, *line, entry.index));
        }
    }
    Ok(entries)
}

/// Names what was done to the entries, at the first index that is not the expected one.
fn out_of_order(entries: &[(usize, Entry)], expected: u64, line: usize, found: u64) -> ExportError {
    let times = |index| {
        let same = entries.iter().filter(|(_, entry)| entry.index == index);
        same.count()
    };
    if times(found) > 1 {
        return ExportError::Inserted { index: found, line };
    }
    if times(expected) > 0 {
        return ExportError::Reordered {
            expected,
            found,
            line,
        };
    }
    ExportError::Removed {
        index: expected,
        line,
    }
}

fn rebuild(entries: &[(usize, Entry)]) -> Result<TreeHead, FrontierError> {
    let mut tree = Frontier::empty();
    for (_, entry) in entries {
        tree.append(entry.leaf)?;
    }
    Ok(tree.head())
}

/// Asked last: only of entries that the key did sign can one say that the log itself was rewritten.
fn meet(known: &[TreeHead], entries: &[(usize, Entry)]) -> Result<(), ExportError> {
    for known in known {
        let before = usize::try_from(known.size)
            .ok()
            .and_then(|size| entries.get(..size))
            .ok_or(ExportError::RolledBack {
                known: known.size,
                found: u64::try_from(entries.len()).unwrap_or(u64::MAX),
            })?;
        if rebuild(before)? != *known {
            return Err(ExportError::Forked { known: *known });
        }
    }
    Ok(())
}

fn compare(computed: &TreeHead, signed: &TreeHead) -> Result<(), ExportError> {
    let (found, expected) = (computed.size, signed.size);
    if found < expected {
        return Err(ExportError::Missing {
            signed: expected,
            found,
        });
    }
    if found > expected {
        return Err(ExportError::Surplus {
            signed: expected,
            found,
        });
    }
    if computed.root != signed.root {
        return Err(ExportError::Root {
            signed: *signed,
            computed: *computed,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
