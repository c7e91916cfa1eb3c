//! The right edge of the tree: the roots of the perfect subtrees that its size is made of, largest
//! first. All that appending needs.
//!
//! Invariant: there are as many hashes as one-bits in the size. What was read from a database is
//! merely well formed: compare [`Frontier::head`] with a verified checkpoint before appending.

use super::{LeafHash, TreeHead, node_hash};
use crate::digest::Sha256Digest;

/// The compact state of an append-only tree: 8 + 32·popcount(size) bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Sha256Digest>,
}

/// A frontier that cannot be read or cannot grow.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrontierError {
    /// The bytes are not a size followed by exactly the hashes that it needs.
    #[error("a frontier of {actual} bytes does not fit its size")]
    Length {
        /// Bytes given.
        actual: usize,
    },
    /// The tree holds 2⁶⁴ − 1 entries.
    #[error("the tree is full")]
    Full,
}

impl Frontier {
    /// The frontier of a tree without entries.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds a leaf at the right edge and returns its index. One hash on average, log₂(size) at most.
    ///
    /// # Errors
    /// [`FrontierError::Full`]; the frontier is unchanged.
    pub fn append(&mut self, leaf: LeafHash) -> Result<u64, FrontierError> {
        let index = self.size;
        let size = index.checked_add(1).ok_or(FrontierError::Full)?;
        // Each trailing one-bit of the old size is a peak as large as what has grown to its right.
        let merged = usize::try_from(index.trailing_ones()).unwrap_or(usize::MAX);
        let kept = self.peaks.len().saturating_sub(merged);
        let grown = self
            .peaks
            .drain(kept..)
            .rev()
            .fold(leaf.digest(), |right, left| node_hash(&left, &right));
        self.peaks.push(grown);
        self.size = size;
        Ok(index)
    }

    /// How many leaves were appended.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size and root: the peaks hashed together from the right (RFC 9162 §2.1.2).
    #[must_use]
    pub fn head(&self) -> TreeHead {
        let root = self
            .peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right));
        root.map_or_else(TreeHead::empty, |root| TreeHead {
            size: self.size,
            root,
        })
    }

    /// The size as eight bytes, most significant first, then the hashes, largest subtree first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for peak in &self.peaks {
            bytes.extend_from_slice(peak.as_bytes());
        }
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`FrontierError::Length`] unless the length is exactly right.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrontierError> {
        let wrong = || FrontierError::Length {
            actual: bytes.len(),
        };
        let (size, hashes) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
        let size = u64::from_be_bytes(*size);
        let (hashes, rest) = hashes.as_chunks::<32>();
        if !rest.is_empty() || usize::try_from(size.count_ones()) != Ok(hashes.len()) {
            return Err(wrong());
        }
        Ok(Self {
            size,
            peaks: hashes.iter().copied().map(Sha256Digest).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{leaves, root};
    use super::*;

    #[test]
    fn a_full_tree_refuses_and_stays_as_it_was() {
        let mut frontier = Frontier {
            size: u64::MAX,
            peaks: vec![Sha256Digest::ZERO; 64],
        };
        let before = frontier.clone();
        assert_eq!(
            frontier.append(LeafHash::of(b"x")),
            Err(FrontierError::Full)
        );
        assert_eq!(frontier, before);
    }

    #[test]
    fn only_exact_lengths_are_read() {
        let mut frontier = Frontier::empty();
        for leaf in leaves(5) {
            frontier.append(leaf).unwrap();
        }
        let bytes = frontier.to_bytes();
        assert_eq!(bytes.len(), 8 + 2 * 32);
        assert_eq!(Frontier::from_bytes(&bytes), Ok(frontier));
        for length in (0..bytes.len()).filter(|length| *length != bytes.len()) {
            assert!(Frontier::from_bytes(&bytes[..length]).is_err());
        }
        assert!(Frontier::from_bytes(&[&bytes[..], &[0; 32]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn every_head_is_the_naive_root_and_survives_storage(count in 0_u64..200) {
            let leaves = leaves(count);
            let mut frontier = Frontier::empty();
            for (index, leaf) in leaves.iter().enumerate() {
                prop_assert_eq!(frontier.head(), root(&leaves[..index]));
                prop_assert_eq!(frontier.append(*leaf), Ok(index as u64));
                frontier = Frontier::from_bytes(&frontier.to_bytes()).unwrap();
            }
            prop_assert_eq!(frontier.head(), root(&leaves));
        }
    }
}
