//! Proofs of the audit tree and its stored frontier: read, written back, and verified in bounded work.
//! A proof for an honest tree holds; changed in any part it does not.

#![no_main]

use serde::{Deserialize, Serialize};
use touchstone_evidence::transparency::{
    ConsistencyProof, Frontier, InclusionProof, LeafHash, TreeHead,
};

touchstone_evidence_fuzz::target!(check);

#[derive(Serialize, Deserialize)]
enum Claim {
    Included(InclusionProof, LeafHash, TreeHead),
    Consistent(ConsistencyProof, TreeHead, TreeHead),
}

fn check(data: &[u8]) -> bool {
    honest(data);
    frontier(data) | claim(data)
}

fn frontier(data: &[u8]) -> bool {
    let Ok(mut tree) = Frontier::from_bytes(data) else {
        return false;
    };
    assert_eq!(tree.to_bytes(), data);
    assert_eq!(tree.head().size, tree.size());
    let size = tree.size();
    if tree.append(LeafHash::of(data)).is_ok() {
        assert_eq!(Some(tree.size()), size.checked_add(1));
    }
    true
}

fn claim(data: &[u8]) -> bool {
    let Ok(claim) = serde_json::from_slice(data) else {
        return false;
    };
    match &claim {
        Claim::Included(proof, leaf, head) => drop(proof.verify(leaf, head)),
        Claim::Consistent(proof, earlier, later) => drop(proof.verify(earlier, later)),
    }
    let written = serde_json::to_vec(&claim).unwrap();
    let again: Claim = serde_json::from_slice(&written).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
    true
}

/// The first byte says how many leaves the tree has, the second and third which proof is made of it.
fn honest(data: &[u8]) {
    let [size, a, b, ..] = *data else { return };
    let leaves: Vec<LeafHash> = (0..=size % 64).map(|leaf| LeafHash::of(&[leaf])).collect();
    let head = |count: usize| {
        let mut tree = Frontier::empty();
        for leaf in &leaves[..count] {
            tree.append(*leaf).unwrap();
        }
        tree.head()
    };
    let (index, earlier) = (
        usize::from(a) % leaves.len(),
        usize::from(b) % (leaves.len() + 1),
    );
    let whole = head(leaves.len());
    let mut proof = InclusionProof::from_leaves(&leaves, index as u64).unwrap();
    proof.verify(&leaves[index], &whole).unwrap();
    assert!(proof.verify(&LeafHash::of(b"other"), &whole).is_err());
    if let Some(hash) = proof.path.last_mut() {
        hash.0[31] ^= 1;
        assert!(proof.verify(&leaves[index], &whole).is_err());
    }
    let proof = ConsistencyProof::from_leaves(&leaves, earlier as u64);
    let mut earlier = head(earlier);
    if let Ok(proof) = proof {
        proof.verify(&earlier, &whole).unwrap();
        earlier.root.0[0] ^= 1;
        assert!(proof.verify(&earlier, &whole).is_err());
    }
}
