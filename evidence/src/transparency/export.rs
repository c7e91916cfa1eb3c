//! The audit trail as one JSON Lines file that is checked offline: a header, every entry of the log
//! from index 0 (exact bytes, leaf hash), after an exchange of the key its handover, a signed checkpoint last.
//!
//! Invariant: the file vouches for nothing. Only the verifier key, and heads that the reader kept
//! from before, decide; leaf hashes in the file merely help to name the entry that is wrong.

mod error;
mod handovers;

use serde::{Deserialize, Serialize};

pub use error::ExportError;
pub use handovers::{HandoverError, KeyInForce, MAX_HANDOVERS};

use super::{
    Checkpoint, Frontier, FrontierError, LeafHash, TreeHead, VerifiedCheckpoint, VerifierKey,
};
use handovers::{Keys, UntrustedHandover};

/// What the header names.
const FORMAT: &str = "touchstone-audit-v2";

/// What it named before the key could be exchanged: there are no handovers.
const FORMAT_WITHOUT_HANDOVERS: &str = "touchstone-audit-v1";

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
    keys: Vec<KeyInForce>,
    entries: Vec<Entry>,
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
struct HandoverLine {
    handover: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointLine {
    checkpoint: String,
}

/// The first line of an export, without a line feed. The key, that of the checkpoint, is a convenience for people.
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

/// The line that follows the entry of an exchange, without a line feed. `note` is what
/// [`CheckpointSigner::hand_over`](super::CheckpointSigner::hand_over) made.
#[must_use]
pub fn handover_line(note: &str) -> String {
    serde_json::json!({ "handover": note }).to_string()
}

/// The last line of an export, without a line feed. `note` is what
/// [`CheckpointSigner::sign`](super::CheckpointSigner::sign) made.
#[must_use]
pub fn checkpoint_line(note: &str) -> String {
    serde_json::json!({ "checkpoint": note }).to_string()
}

/// Checks a whole export: every entry against its leaf hash, the indices, each exchange of the key, the
/// checkpoint's signature by the last key, and the recomputed roots against the signed ones; then that the log
/// still begins with each of the `known` heads, which the reader kept from earlier exports or got from witnesses.
///
/// What that proves: these are all entries under the signed root, in order, and none that lay under
/// a known head was changed; and, from the reader's key, whose word each later key rests on. What it does not: that the server showed everybody the same root
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
    let (trusted, with_handovers) = read_header(header, trust)?;
    let (checkpoint, rest) = checkpoint(rest, header)?;
    let checkpoint = Checkpoint::parse(checkpoint.as_bytes())?;

    let Read { entries, handovers } = read_lines(rest, with_handovers)?;
    in_order(&entries)?;
    let keys = Keys::follow(&entries, &handovers, &trusted)?;
    let (checkpoint, signer) = keys.verify_last(&checkpoint)?;
    compare(&keys.rebuild(&entries)?, checkpoint.head())?;
    meet(known, &entries)?;
    Ok(VerifiedExport {
        checkpoint,
        signer,
        keys: keys.into_keys(),
        entries: entries.into_iter().map(|(_, entry)| entry).collect(),
    })
}

impl VerifiedExport {
    /// The signed head over all entries: worth keeping as a known head for the next export.
    #[must_use]
    pub fn head(&self) -> &TreeHead {
        self.checkpoint.head()
    }

    /// The key that signed the head: the reader's or the file's own (see [`ExportTrust`]), or one that it was
    /// exchanged for since. Worth keeping for the next export.
    #[must_use]
    pub fn signer(&self) -> &VerifierKey {
        &self.signer
    }

    /// All keys that the log had, the first one first, the signer last.
    #[must_use]
    pub fn keys(&self) -> &[KeyInForce] {
        &self.keys
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

/// The key that is believed, and whether there may be handovers.
fn read_header(
    header: &Line<'_>,
    trust: ExportTrust<'_>,
) -> Result<(VerifierKey, bool), ExportError> {
    let header: Header = header.read()?;
    let with_handovers = match header.format.as_str() {
        FORMAT => true,
        FORMAT_WITHOUT_HANDOVERS => false,
        other => return Err(ExportError::Format(other.chars().take(80).collect())),
    };
    let key = match trust {
        ExportTrust::Key(key) => key.clone(),
        ExportTrust::KeyInFile => header.vkey.parse()?,
    };
    Ok((key, with_handovers))
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

/// What stands between header and checkpoint.
struct Read {
    /// With the numbers of their lines, each equal to its leaf hash.
    entries: Vec<(usize, Entry)>,
    handovers: Vec<UntrustedHandover>,
}

fn read_lines(lines: &[Line<'_>], with_handovers: bool) -> Result<Read, ExportError> {
    let mut entries = Vec::with_capacity(lines.len());
    let mut handovers = Vec::new();
    for line in lines {
        let no_entry = match line.read::<EntryLine>() {
            Ok(entry) => {
                entries.push((line.number, read_entry(entry, line.number)?));
                continue;
            }
            Err(no_entry) => no_entry,
        };
        match line.read::<HandoverLine>() {
            Ok(HandoverLine { handover }) if with_handovers => handovers.push(UntrustedHandover {
                line: line.number,
                after: u64::try_from(entries.len()).unwrap_or(u64::MAX),
                note: handover,
            }),
            _ => return Err(no_entry),
        }
        if handovers.len() > MAX_HANDOVERS {
            return Err(ExportError::ManyHandovers);
        }
    }
    Ok(Read { entries, handovers })
}

fn read_entry(
    EntryLine { index, leaf, entry }: EntryLine,
    line: usize,
) -> Result<Entry, ExportError> {
    if LeafHash::of(entry.as_bytes()) != leaf {
        return Err(ExportError::Edited { index, line });
    }
    let body = entry;
    Ok(Entry { index, leaf, body })
}

/// The indices are 0, 1, 2 …
fn in_order(entries: &[(usize, Entry)]) -> Result<(), ExportError> {
    for (expected, (line, entry)) in (0..).zip(entries) {
        if entry.index != expected {
            return Err(out_of_order(entries, expected, *line, entry.index));
        }
    }
    Ok(())
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
