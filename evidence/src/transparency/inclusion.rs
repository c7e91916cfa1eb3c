//! Inclusion proofs (RFC 9162 §2.1.3): that the entry with this leaf hash stands at this index of
//! the tree with this head.

use serde::{Deserialize, Serialize};

use super::subtree::{range_hash, split};
use super::{
    LeafHash, Subtree, SubtreeError, TreeHead, bounded_path, node_hash, subtree_of_leaves,
};
use crate::digest::Sha256Digest;

/// The sibling hashes from a leaf up to the root. A claim until [`InclusionProof::verify`] passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// The entry's position, from 0.
    pub index: u64,
    /// The size of the tree that the proof is made for.
    pub size: u64,
    /// Sibling hashes, nearest the leaf first.
    #[serde(deserialize_with = "bounded_path")]
    pub path: Vec<Sha256Digest>,
}

/// Why an inclusion proof could not be made or does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InclusionError {
    /// The index lies outside the tree.
    #[error("index {index} lies outside a tree of {size}")]
    Index {
        /// Index named.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
    /// The proof is made for a tree of another size than the head's.
    #[error("the proof is for a tree of {proof}, the head is of {head}")]
    Size {
        /// Size in the proof.
        proof: u64,
        /// Size in the head.
        head: u64,
    },
    /// The path is shorter or longer than the way from that leaf to the root.
    #[error("a path of {actual} hashes does not lead from leaf {index} to the root of {size}")]
    PathLength {
        /// Index in the proof.
        index: u64,
        /// Size in the proof.
        size: u64,
        /// Hashes in the path.
        actual: usize,
    },
    /// The path leads to another root: another leaf, index, path or tree.
    #[error("the proof leads to root `{computed}`, the head has `{expected}`")]
    Root {
        /// The head's root.
        expected: Sha256Digest,
        /// Where the path led.
        computed: Sha256Digest,
    },
    /// A hash needed to make the proof is missing.
    #[error("the proof cannot be made")]
    Subtree(#[from] SubtreeError),
}

impl InclusionProof {
    /// The proof for one of `leaves`, which are all leaves of the tree. O(n) hashes.
    ///
    /// # Errors
    /// [`InclusionError::Index`].
    pub fn from_leaves(leaves: &[LeafHash], index: u64) -> Result<Self, InclusionError> {
        let size = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        Self::from_subtrees(index, size, &mut |subtree| {
            subtree_of_leaves(leaves, subtree)
        })
    }

    /// The proof from stored subtree hashes: `hash_of` is asked O(log² size) times.
    ///
    /// # Errors
    /// [`InclusionError::Index`]; [`InclusionError::Subtree`] where `hash_of` has no answer.
    pub fn from_subtrees(
        index: u64,
        size: u64,
        hash_of: &mut dyn FnMut(Subtree) -> Option<Sha256Digest>,
    ) -> Result<Self, InclusionError> {
        if index >= size {
            return Err(InclusionError::Index { index, size });
        }
        // Down from the root to the leaf, noting the half not taken; the path runs the other way.
        let (mut start, mut end, mut path) = (0_u64, size, Vec::new());
        while end.saturating_sub(start) > 1 {
            let middle = start.saturating_add(split(end.saturating_sub(start)));
            if index < middle {
                path.push(range_hash(middle, end, hash_of)?);
                end = middle;
            } else {
                path.push(range_hash(start, middle, hash_of)?);
                start = middle;
            }
        }
        path.reverse();
        Ok(Self { index, size, path })
    }

    /// Checks that `leaf` stands at [`InclusionProof::index`] of the tree with this head
    /// (RFC 9162 §2.1.3.2).
    ///
    /// # Errors
    /// Every variant but [`InclusionError::Subtree`].
    pub fn verify(&self, leaf: &LeafHash, head: &TreeHead) -> Result<(), InclusionError> {
        let Self { index, size, .. } = *self;
        if size != head.size {
            return Err(InclusionError::Size {
                proof: size,
                head: head.size,
            });
        }
        if index >= size {
            return Err(InclusionError::Index { index, size });
        }
        let wrong_length = || InclusionError::PathLength {
            index,
            size,
            actual: self.path.len(),
        };
        let mut position = index;
        let mut last = size.saturating_sub(1);
        let mut computed = leaf.digest();
        for sibling in &self.path {
            if last == 0 {
                return Err(wrong_length());
            }
            if position & 1 == 1 || position == last {
                computed = node_hash(sibling, &computed);
                // On the right edge a node without a sibling is its own parent.
                while position & 1 == 0 && position != 0 {
                    position >>= 1;
                    last >>= 1;
                }
            } else {
                computed = node_hash(&computed, sibling);
            }
            position >>= 1;
            last >>= 1;
        }
        if last != 0 {
            return Err(wrong_length());
        }
        if computed != head.root {
            return Err(InclusionError::Root {
                expected: head.root,
                computed,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{RFC_LEAVES, leaves, oracle, root};
    use super::*;

    fn rfc_path(size: usize, index: u64) -> Vec<String> {
        let leaves: Vec<_> = RFC_LEAVES[..size]
            .iter()
            .map(|leaf| LeafHash::of(leaf))
            .collect();
        let proof = InclusionProof::from_leaves(&leaves, index).unwrap();
        proof
            .path
            .iter()
            .map(|hash| hash.to_string()[..8].to_owned())
            .collect()
    }

    #[test]
    fn known_paths_of_the_eight_leaf_tree() {
        assert_eq!(rfc_path(1, 0), [""; 0]);
        assert_eq!(rfc_path(8, 0), ["96a296d2", "5f083f0a", "6b47aaf2"]);
        assert_eq!(rfc_path(8, 5), ["bc1a0643", "ca854ea1", "d37ee418"]);
        assert_eq!(rfc_path(3, 2), ["fac54203"]);
        assert_eq!(rfc_path(5, 1), ["6e340b9c", "5f083f0a", "bc1a0643"]);
    }

    #[test]
    fn an_index_outside_the_tree_is_refused() {
        let leaves = leaves(3);
        assert_eq!(
            InclusionProof::from_leaves(&leaves, 3),
            Err(InclusionError::Index { index: 3, size: 3 })
        );
        let mut proof = InclusionProof::from_leaves(&leaves, 2).unwrap();
        proof.index = 3;
        assert_eq!(
            proof.verify(&leaves[2], &root(&leaves)),
            Err(InclusionError::Index { index: 3, size: 3 })
        );
        proof.size = 4;
        assert_eq!(
            proof.verify(&leaves[2], &root(&leaves)),
            Err(InclusionError::Size { proof: 4, head: 3 })
        );
    }

    #[test]
    fn an_endless_path_is_refused_while_reading() {
        let path = vec![Sha256Digest::ZERO; 66];
        let text = serde_json::json!({ "index": 0, "size": 1, "path": path }).to_string();
        assert!(serde_json::from_str::<InclusionProof>(&text).is_err());
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(count in 1_u64..80, pick: prop::sample::Index) {
            let index = pick.index(count as usize);
            let leaves = leaves(count);
            let proof = InclusionProof::from_leaves(&leaves, index as u64).unwrap();
            let theirs = oracle(count).prove_inclusion(index);
            let ours: Vec<u8> = proof.path.iter().flat_map(|hash| hash.0).collect();
            prop_assert_eq!(ours, theirs.as_bytes());
            prop_assert_eq!(proof.verify(&leaves[index], &root(&leaves)), Ok(()));
        }

        #[test]
        fn nothing_else_verifies(
            count in 2_u64..80, pick: prop::sample::Index, other: prop::sample::Index,
            bit in 0_usize..256,
        ) {
            let leaves = leaves(count);
            let index = pick.index(count as usize);
            let head = root(&leaves);
            let proof = InclusionProof::from_leaves(&leaves, index as u64).unwrap();

            let mut flipped = proof.clone();
            let at = other.index(proof.path.len());
            flipped.path[at].0[bit / 8] ^= 1 << (bit % 8);
            let error = flipped.verify(&leaves[index], &head).unwrap_err();
            let expected = matches!(error, InclusionError::Root { .. });
            prop_assert!(expected);

            for neighbour in [index.wrapping_sub(1), index + 1] {
                let moved = InclusionProof { index: neighbour as u64, ..proof.clone() };
                prop_assert!(moved.verify(&leaves[index], &head).is_err());
                if let Some(leaf) = leaves.get(neighbour) {
                    prop_assert!(proof.verify(leaf, &head).is_err());
                }
            }
            for size in [count - 1, count + 1] {
                let resized = InclusionProof { size, ..proof.clone() };
                prop_assert!(resized.verify(&leaves[index], &head).is_err());
            }
            let mut short = proof.clone();
            short.path.pop();
            let error = short.verify(&leaves[index], &head).unwrap_err();
            let expected = matches!(error, InclusionError::PathLength { .. });
            prop_assert!(expected);
            let mut long = proof.clone();
            long.path.push(Sha256Digest::ZERO);
            let error = long.verify(&leaves[index], &head).unwrap_err();
            let expected = matches!(error, InclusionError::PathLength { .. });
            prop_assert!(expected);
        }

        #[test]
        fn hostile_proofs_end(
            index: u64, size: u64, path in prop::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            let path = path.into_iter().map(Sha256Digest).collect();
            let head = TreeHead { size, root: Sha256Digest::ZERO };
            let proof = InclusionProof { index, size, path };
            prop_assert!(proof.verify(&LeafHash::of(b""), &head).is_err());
        }
    }
}
