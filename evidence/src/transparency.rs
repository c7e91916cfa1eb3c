//! The audit log's Merkle tree (RFC 9162 §2.1, the hashing of RFC 6962), its proofs, its signed
//! heads and its export: all that a party without access to the server needs to check the log.
//!
//! Invariant: nothing here stores, fetches or signs by itself. A head is worth no more than the
//! [`VerifiedCheckpoint`] that it came from.

mod checkpoint;
mod consistency;
mod export;
mod frontier;
mod inclusion;
mod subtree;
mod verifier_key;

use serde::{Deserialize, Serialize};

pub use checkpoint::{Checkpoint, CheckpointError, CheckpointSigner, VerifiedCheckpoint};
pub use consistency::{ConsistencyError, ConsistencyProof};
pub use export::{
    Entry, ExportError, ExportTrust, HandoverError, KeyInForce, MAX_HANDOVERS, VerifiedExport,
    checkpoint_line, entry_line, handover_line, header_line, verify_export,
};
pub use frontier::{Frontier, FrontierError};
pub use inclusion::{InclusionError, InclusionProof};
pub use subtree::{Subtree, SubtreeError, subtree_of_leaves};
pub use verifier_key::{VerifierKey, VerifierKeyError};

use crate::digest::Sha256Digest;

/// The hash of one log entry, SHA-256(0x00 ‖ entry) (RFC 9162 §2.1.1): the entry's name before
/// and after it has an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeafHash(Sha256Digest);

impl LeafHash {
    /// The leaf hash of an entry's exact bytes.
    #[must_use]
    pub fn of(entry: &[u8]) -> Self {
        Self(Sha256Digest::of_parts(&[&[0x00], entry]))
    }

    /// A leaf hash read back from where the log keeps it.
    #[must_use]
    pub fn from_digest(digest: Sha256Digest) -> Self {
        Self(digest)
    }

    /// The hash as a node of the tree: the root of the tree that holds only this leaf.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.0
    }
}

impl std::fmt::Display for LeafHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// Size and root of the tree at one moment. Unsigned: see [`Checkpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeHead {
    /// How many entries the tree holds.
    pub size: u64,
    /// The Merkle tree hash over them.
    pub root: Sha256Digest,
}

impl TreeHead {
    /// The head of the tree without entries: its root is the digest of nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            size: 0,
            root: Sha256Digest::of(&[]),
        }
    }
}

/// An inner node, SHA-256(0x01 ‖ left ‖ right). The prefix keeps it apart from every leaf.
fn node_hash(left: &Sha256Digest, right: &Sha256Digest) -> Sha256Digest {
    Sha256Digest::of_parts(&[&[0x01], left.as_bytes(), right.as_bytes()])
}

/// More siblings than this no tree of 2⁶⁴ leaves can ask for.
const MAX_PATH: usize = 65;

/// A proof's hashes, refused while reading once there are more than [`MAX_PATH`].
fn bounded_path<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<Sha256Digest>, D::Error> {
    struct Path;

    impl<'de> serde::de::Visitor<'de> for Path {
        type Value = Vec<Sha256Digest>;

        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(out, "at most {MAX_PATH} hashes")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut items: A,
        ) -> Result<Self::Value, A::Error> {
            let mut path = Vec::new();
            while let Some(hash) = items.next_element()? {
                if path.len() == MAX_PATH {
                    return Err(serde::de::Error::invalid_length(path.len(), &self));
                }
                path.push(hash);
            }
            Ok(path)
        }
    }

    input.deserialize_seq(Path)
}

#[cfg(test)]
mod reference;
