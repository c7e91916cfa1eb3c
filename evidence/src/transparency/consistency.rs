//! Consistency proofs (RFC 9162 §2.1.4): that the later tree begins with exactly the entries of the
//! earlier one. Without such a proof two signed heads may belong to two histories.

use serde::{Deserialize, Serialize};

use super::subtree::{range_hash, split};
use super::{
    LeafHash, Subtree, SubtreeError, TreeHead, bounded_path, node_hash, subtree_of_leaves,
};
use crate::digest::Sha256Digest;

/// The hashes that tie an earlier head to a later one. A claim until
/// [`ConsistencyProof::verify`] passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Size of the earlier tree.
    pub earlier: u64,
    /// Size of the later tree.
    pub later: u64,
    /// Hashes in the order of RFC 9162 §2.1.4.1; none where the sizes are equal or `earlier` is 0.
    #[serde(deserialize_with = "bounded_path")]
    pub path: Vec<Sha256Digest>,
}

/// Why a consistency proof could not be made or does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConsistencyError {
    /// The "later" tree is the smaller one: a rollback, or arguments exchanged.
    #[error("the later tree of {later} is smaller than the earlier one of {earlier}")]
    Shrunk {
        /// Size of the earlier tree.
        earlier: u64,
        /// Size of the later tree.
        later: u64,
    },
    /// The proof is made for other sizes than those of the heads.
    #[error("the proof is not for trees of {earlier} and {later}")]
    Size {
        /// Size of the earlier head.
        earlier: u64,
        /// Size of the later head.
        later: u64,
    },
    /// The path is shorter or longer than those two sizes need.
    #[error("a path of {actual} hashes does not tie a tree of {earlier} to one of {later}")]
    PathLength {
        /// Size of the earlier tree.
        earlier: u64,
        /// Size of the later tree.
        later: u64,
        /// Hashes in the path.
        actual: usize,
    },
    /// The path does not lead to the earlier root.
    #[error("the proof leads to earlier root `{computed}`, the head has `{expected}`")]
    EarlierRoot {
        /// The earlier head's root.
        expected: Sha256Digest,
        /// Where the path led.
        computed: Sha256Digest,
    },
    /// The path does not lead to the later root.
    #[error("the proof leads to later root `{computed}`, the head has `{expected}`")]
    LaterRoot {
        /// The later head's root.
        expected: Sha256Digest,
        /// Where the path led.
        computed: Sha256Digest,
    },
    /// A hash needed to make the proof is missing.
    #[error("the proof cannot be made")]
    Subtree(#[from] SubtreeError),
}

impl ConsistencyProof {
    /// The proof that the tree of the first `earlier` leaves grew into that of all `leaves`.
    /// O(n) hashes.
    ///
    /// # Errors
    /// [`ConsistencyError::Shrunk`] if there are fewer leaves than `earlier`.
    pub fn from_leaves(leaves: &[LeafHash], earlier: u64) -> Result<Self, ConsistencyError> {
        let later = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        Self::from_subtrees(earlier, later, &mut |subtree| {
            subtree_of_leaves(leaves, subtree)
        })
    }

    /// The proof from stored subtree hashes: `hash_of` is asked O(log² later) times.
    ///
    /// # Errors
    /// [`ConsistencyError::Shrunk`]; [`ConsistencyError::Subtree`] where `hash_of` has no answer.
    pub fn from_subtrees(
        earlier: u64,
        later: u64,
        hash_of: &mut dyn FnMut(Subtree) -> Option<Sha256Digest>,
    ) -> Result<Self, ConsistencyError> {
        if earlier > later {
            return Err(ConsistencyError::Shrunk { earlier, later });
        }
        let mut path = Vec::new();
        if earlier != 0 && earlier != later {
            // Down to where the earlier tree ends, noting the half not taken (§2.1.4.1 SUBPROOF).
            let (mut start, mut end) = (0_u64, later);
            while end != earlier {
                let middle = start.saturating_add(split(end.saturating_sub(start)));
                if earlier <= middle {
                    path.push(range_hash(middle, end, hash_of)?);
                    end = middle;
                } else {
                    path.push(range_hash(start, middle, hash_of)?);
                    start = middle;
                }
            }
            // The verifier knows this hash only if it is the whole earlier tree.
            if start != 0 {
                path.push(range_hash(start, end, hash_of)?);
            }
            path.reverse();
        }
        Ok(Self {
            earlier,
            later,
            path,
        })
    }

    /// Checks that the tree of `later` begins with the tree of `earlier` (RFC 9162 §2.1.4.2).
    /// Every tree begins with the empty one.
    ///
    /// # Errors
    /// Every variant but [`ConsistencyError::Subtree`].
    pub fn verify(&self, earlier: &TreeHead, later: &TreeHead) -> Result<(), ConsistencyError> {
        if earlier.size > later.size {
            return Err(ConsistencyError::Shrunk {
                earlier: earlier.size,
                later: later.size,
            });
        }
        if (self.earlier, self.later) != (earlier.size, later.size) {
            return Err(ConsistencyError::Size {
                earlier: earlier.size,
                later: later.size,
            });
        }
        let (earlier_root, later_root) = if earlier.size == 0 {
            self.expect_no_path()?;
            (TreeHead::empty().root, later.root)
        } else if earlier.size == later.size {
            self.expect_no_path()?;
            (later.root, later.root)
        } else {
            self.roots(earlier)?
        };
        if earlier_root != earlier.root {
            return Err(ConsistencyError::EarlierRoot {
                expected: earlier.root,
                computed: earlier_root,
            });
        }
        if later_root != later.root {
            return Err(ConsistencyError::LaterRoot {
                expected: later.root,
                computed: later_root,
            });
        }
        Ok(())
    }

    /// Both roots as the path yields them, for 0 < earlier < later.
    fn roots(&self, earlier: &TreeHead) -> Result<(Sha256Digest, Sha256Digest), ConsistencyError> {
        // A perfect earlier tree is itself the first hash; a proof does not repeat it.
        let known = earlier.size.is_power_of_two().then_some(&earlier.root);
        let mut hashes = known.into_iter().chain(&self.path);
        let first = hashes.next().ok_or_else(|| self.wrong_length())?;

        let mut position = self.earlier.saturating_sub(1);
        let mut last = self.later.saturating_sub(1);
        let shared = position.trailing_ones();
        position = position.checked_shr(shared).unwrap_or(0);
        last = last.checked_shr(shared).unwrap_or(0);

        let (mut earlier_root, mut later_root) = (*first, *first);
        for hash in hashes {
            if last == 0 {
                return Err(self.wrong_length());
            }
            if position & 1 == 1 || position == last {
                earlier_root = node_hash(hash, &earlier_root);
                later_root = node_hash(hash, &later_root);
                while position & 1 == 0 && position != 0 {
                    position >>= 1;
                    last >>= 1;
                }
            } else {
                later_root = node_hash(&later_root, hash);
            }
            position >>= 1;
            last >>= 1;
        }
        if last != 0 {
            return Err(self.wrong_length());
        }
        Ok((earlier_root, later_root))
    }

    fn expect_no_path(&self) -> Result<(), ConsistencyError> {
        if self.path.is_empty() {
            Ok(())
        } else {
            Err(self.wrong_length())
        }
    }

    fn wrong_length(&self) -> ConsistencyError {
        ConsistencyError::PathLength {
            earlier: self.earlier,
            later: self.later,
            actual: self.path.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{leaves, oracle, root};
    use super::*;

    #[test]
    fn the_empty_tree_and_the_same_tree_need_no_path() {
        let leaves = leaves(5);
        let head = root(&leaves);
        for earlier in [TreeHead::empty(), head] {
            let proof = ConsistencyProof::from_leaves(&leaves, earlier.size).unwrap();
            assert!(proof.path.is_empty());
            assert_eq!(proof.verify(&earlier, &head), Ok(()));
            let mut long = proof;
            long.path.push(Sha256Digest::ZERO);
            assert!(matches!(
                long.verify(&earlier, &head),
                Err(ConsistencyError::PathLength { actual: 1, .. })
            ));
        }
    }

    #[test]
    fn a_fork_of_the_same_size_is_refused() {
        let ours = leaves(5);
        let mut theirs = ours.clone();
        theirs[1] = LeafHash::of(b"rewritten");
        let proof = ConsistencyProof::from_leaves(&ours, 5).unwrap();
        assert!(matches!(
            proof.verify(&root(&theirs), &root(&ours)),
            Err(ConsistencyError::EarlierRoot { .. })
        ));
    }

    #[test]
    fn a_rollback_is_refused() {
        let leaves = leaves(5);
        let error = ConsistencyError::Shrunk {
            earlier: 5,
            later: 4,
        };
        assert_eq!(ConsistencyProof::from_leaves(&leaves[..4], 5), Err(error));
        let proof = ConsistencyProof::from_leaves(&leaves, 4).unwrap();
        assert_eq!(
            proof.verify(&root(&leaves), &root(&leaves[..4])),
            Err(ConsistencyError::Shrunk {
                earlier: 5,
                later: 4
            })
        );
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(later in 1_u64..80, pick: prop::sample::Index) {
            let earlier = pick.index(later as usize) as u64 + 1;
            let leaves = leaves(later);
            let proof = ConsistencyProof::from_leaves(&leaves, earlier).unwrap();
            let (old, new) = (root(&leaves[..earlier as usize]), root(&leaves));
            prop_assert_eq!(proof.verify(&old, &new), Ok(()));
            let theirs = oracle(later).prove_consistency((later - earlier) as usize);
            let ours: Vec<u8> = proof.path.iter().flat_map(|hash| hash.0).collect();
            prop_assert_eq!(ours, theirs.as_bytes());
        }

        #[test]
        fn nothing_else_verifies(
            later in 2_u64..80, pick: prop::sample::Index, other: prop::sample::Index,
            bit in 0_usize..256,
        ) {
            let earlier = pick.index(later as usize - 1) as u64 + 1;
            let leaves = leaves(later);
            let (old, new) = (root(&leaves[..earlier as usize]), root(&leaves));
            let proof = ConsistencyProof::from_leaves(&leaves, earlier).unwrap();

            let mut flipped = proof.clone();
            let at = other.index(proof.path.len());
            flipped.path[at].0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(flipped.verify(&old, &new).is_err());

            let mut rewritten = leaves.clone();
            rewritten[other.index(earlier as usize)] = LeafHash::of(b"rewritten");
            let forked = ConsistencyProof::from_leaves(&rewritten, earlier).unwrap();
            prop_assert!(forked.verify(&old, &root(&rewritten)).is_err());

            let mut short = proof.clone();
            short.path.pop();
            prop_assert!(short.verify(&old, &new).is_err());
            let mut long = proof.clone();
            long.path.push(Sha256Digest::ZERO);
            let error = long.verify(&old, &new).unwrap_err();
            let expected = matches!(error, ConsistencyError::PathLength { .. });
            prop_assert!(expected);
            let resized = ConsistencyProof { later: later + 1, ..proof };
            let error = resized.verify(&old, &new).unwrap_err();
            let expected = matches!(error, ConsistencyError::Size { .. });
            prop_assert!(expected);
        }

        #[test]
        fn hostile_proofs_end(
            earlier: u64, later: u64, path in prop::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            let path = path.into_iter().map(Sha256Digest).collect();
            let head = |size| TreeHead { size, root: Sha256Digest::ZERO };
            let proof = ConsistencyProof { earlier, later, path };
            prop_assert!(proof.verify(&head(earlier), &head(later)).is_err() || earlier == later);
        }
    }
}
