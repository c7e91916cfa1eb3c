//! The perfect subtrees of a log: the only hashes that never change once written, hence the ones
//! worth keeping (as tiles, or recomputed from leaves), and how any range of leaves is made of them.

use super::{LeafHash, node_hash};
use crate::digest::Sha256Digest;

/// The perfect subtree over the leaves `index·2^level .. (index+1)·2^level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subtree {
    /// Height above the leaves; a leaf has level 0.
    pub level: u32,
    /// Position from the left among the subtrees of this level.
    pub index: u64,
}

/// A range of leaves could not be hashed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SubtreeError {
    /// The source knows no hash for this subtree.
    #[error("no hash is known for the subtree at level {} index {}", .0.level, .0.index)]
    Missing(Subtree),
    /// The range holds no leaf, or lies outside 64 bits.
    #[error("leaves {start}..{end} are no range of the tree")]
    Range {
        /// First leaf.
        start: u64,
        /// One past the last leaf.
        end: u64,
    },
}

/// The hash of a perfect subtree, from a slice of all leaf hashes. O(2^level) hashes; `None` where
/// the slice ends before the subtree does.
#[must_use]
pub fn subtree_of_leaves(leaves: &[LeafHash], subtree: Subtree) -> Option<Sha256Digest> {
    let width = 1_u64.checked_shl(subtree.level)?;
    let start = subtree.index.checked_mul(width)?;
    let end = start.checked_add(width)?;
    let leaves = leaves.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
    perfect(leaves)
}

/// Halves a slice whose length is a power of two.
fn perfect(leaves: &[LeafHash]) -> Option<Sha256Digest> {
    match leaves {
        [] => None,
        [leaf] => Some(leaf.digest()),
        _ => {
            let (left, right) = leaves.split_at_checked(leaves.len() >> 1)?;
            Some(node_hash(&perfect(left)?, &perfect(right)?))
        }
    }
}

/// MTH over the leaves `start..end` (RFC 9162 §2.1.1), `start` being a multiple of the largest
/// power of two that the recursion splits at: true for every range that a proof names.
///
/// # Errors
/// [`SubtreeError`] where `hash_of` has no answer or the range is empty.
pub(super) fn range_hash(
    start: u64,
    end: u64,
    hash_of: &mut dyn FnMut(Subtree) -> Option<Sha256Digest>,
) -> Result<Sha256Digest, SubtreeError> {
    let width = end
        .checked_sub(start)
        .filter(|width| *width > 0)
        .ok_or(SubtreeError::Range { start, end })?;
    if width.is_power_of_two() {
        let level = width.trailing_zeros();
        let subtree = Subtree {
            level,
            index: start >> level,
        };
        return hash_of(subtree).ok_or(SubtreeError::Missing(subtree));
    }
    let middle = start
        .checked_add(split(width))
        .ok_or(SubtreeError::Range { start, end })?;
    let left = range_hash(start, middle, hash_of)?;
    let right = range_hash(middle, end, hash_of)?;
    Ok(node_hash(&left, &right))
}

/// The largest power of two smaller than `width`: where RFC 9162 splits a tree. 0 for fewer than
/// two leaves, which have no split.
pub(super) fn split(width: u64) -> u64 {
    width
        .checked_sub(1)
        .and_then(u64::checked_ilog2)
        .map_or(0, |exponent| 1 << exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_is_the_largest_smaller_power_of_two() {
        let splits: Vec<u64> = (0..=9).map(split).collect();
        assert_eq!(splits, [0, 0, 1, 2, 2, 4, 4, 4, 4, 8]);
        assert_eq!(split(u64::MAX), 1 << 63);
    }

    #[test]
    fn a_subtree_past_the_leaves_has_no_hash() {
        let leaves = [LeafHash::of(b"a"), LeafHash::of(b"b"), LeafHash::of(b"c")];
        let hash = |level, index| subtree_of_leaves(&leaves, Subtree { level, index });
        assert_eq!(hash(0, 2), Some(leaves[2].digest()));
        assert!(hash(1, 0).is_some());
        assert_eq!(hash(1, 1), None);
        assert_eq!(hash(64, 0), None);
        assert_eq!(hash(63, 3), None);
    }

    #[test]
    fn an_empty_or_reversed_range_is_refused() {
        let mut none = |_| None;
        for (start, end) in [(0, 0), (4, 4), (4, 3)] {
            assert_eq!(
                range_hash(start, end, &mut none),
                Err(SubtreeError::Range { start, end })
            );
        }
    }
}
