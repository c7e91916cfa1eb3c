//! Test material: the recursive definition of RFC 9162 §2.1.1 word for word, the well-known
//! eight-leaf vectors, and an independent implementation as oracle.

use ct_merkle::mem_backed_tree::MemoryBackedTree;

use super::{Frontier, LeafHash, Subtree, TreeHead, node_hash, subtree_of_leaves};
use crate::digest::Sha256Digest;

/// The leaves of the test vectors that the Certificate Transparency projects share.
pub(super) const RFC_LEAVES: [&[u8]; 8] = [
    b"",
    &[0x00],
    &[0x10],
    &[0x20, 0x21],
    &[0x30, 0x31],
    &[0x40, 0x41, 0x42, 0x43],
    &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
    &[
        0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e,
        0x6f,
    ],
];

/// Their roots, for trees of one to eight leaves.
const RFC_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Leaves that all differ.
pub(super) fn leaves(count: u64) -> Vec<LeafHash> {
    (0..count)
        .map(|index| LeafHash::of(&index.to_be_bytes()))
        .collect()
}

/// The same leaves in the oracle's tree.
pub(super) fn oracle(count: u64) -> MemoryBackedTree<sha2::Sha256, [u8; 8]> {
    let mut tree = MemoryBackedTree::new();
    for index in 0..count {
        tree.push(index.to_be_bytes());
    }
    tree
}

/// MTH(D[n]) as the RFC writes it.
pub(super) fn root(leaves: &[LeafHash]) -> TreeHead {
    fn hash(leaves: &[LeafHash]) -> Sha256Digest {
        match leaves {
            [] => Sha256Digest::of(b""),
            [leaf] => leaf.digest(),
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node_hash(&hash(&leaves[..k]), &hash(&leaves[k..]))
            }
        }
    }
    TreeHead {
        size: leaves.len() as u64,
        root: hash(leaves),
    }
}

#[test]
fn the_eight_leaf_vectors() {
    let mut frontier = Frontier::empty();
    assert_eq!(
        frontier.head().root.to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for (leaf, expected) in RFC_LEAVES.iter().zip(RFC_ROOTS) {
        frontier.append(LeafHash::of(leaf)).unwrap();
        assert_eq!(frontier.head().root.to_string(), expected);
    }
}

#[test]
fn roots_agree_with_the_oracle() {
    for count in 0..70 {
        let theirs = oracle(count).root();
        assert_eq!(
            theirs.as_bytes().as_slice(),
            root(&leaves(count)).root.as_bytes()
        );
        assert_eq!(theirs.num_leaves(), count);
    }
}

#[test]
fn perfect_subtrees_are_trees() {
    let leaves = leaves(16);
    for level in 0..=4 {
        for index in 0..(16_u64 >> level) {
            let start = (index << level) as usize;
            let expected = root(&leaves[start..start + (1 << level)]).root;
            assert_eq!(
                subtree_of_leaves(&leaves, Subtree { level, index }),
                Some(expected)
            );
        }
    }
}
