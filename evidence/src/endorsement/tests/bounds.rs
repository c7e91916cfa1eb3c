//! What a chain may cost: its depth, its loops, and how many issuers are tried.

use rcgen::{BasicConstraints, IsCa};

use super::workshop::*;
use super::*;

#[test]
fn path_lengths_are_honoured() {
    let limited = |name: &str, length| {
        let mut params = ca(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        params
    };
    let root = Ca::self_signed(limited("Root", 1), &rcgen::PKCS_ECDSA_P256_SHA256);
    let upper = root.issue(limited("Upper", 0));
    assert!(verify(&root, &[&upper], &upper.endorse(leaf())).is_ok());
    let lower = upper.issue(ca("Lower"));
    assert_eq!(
        verify(&root, &[&upper, &lower], &lower.endorse(leaf())),
        Err(EndorsementError::PathLength {
            subject: "CN=Upper".to_owned(),
            allowed: 0
        })
    );
    let free = root.issue(ca("Free"));
    let lower = free.issue(ca("Lower"));
    assert_eq!(
        verify(&root, &[&free, &lower], &lower.endorse(leaf())),
        Err(EndorsementError::PathLength {
            subject: "CN=Root".to_owned(),
            allowed: 1
        })
    );
}

#[test]
fn depth_is_bounded() {
    let root = Ca::root("Root");
    let chain = |length: usize| {
        let mut chain = vec![root.issue(ca("CA 0"))];
        for number in 1..length {
            let next = chain[number - 1].issue(ca(&format!("CA {number}")));
            chain.push(next);
        }
        chain
    };
    for (length, expected) in [
        (5, "verified"),
        (6, "ek-chain-too-deep"),
        (63, "ek-chain-too-deep"),
    ] {
        let chain = chain(length);
        let offered: Vec<&Ca> = chain.iter().collect();
        let ek = chain[length - 1].endorse(leaf());
        assert_eq!(code(verify(&root, &offered, &ek)), expected, "{length}");
    }
    let crowd: Vec<&Ca> = std::iter::repeat_n(&root, 65).collect();
    let ek = root.endorse(leaf());
    assert_eq!(
        code(verify(&root, &crowd, &ek)),
        "ek-too-many-intermediates"
    );
}

#[test]
fn loops_end() {
    let root = Ca::root("Root");
    let (one, other) = (Ca::root("One"), Ca::root("Other"));
    let (one_by_other, other_by_one) = (other.certify(&one), one.certify(&other));
    let ek = one.endorse(leaf());
    assert_eq!(
        code(verify(&root, &[&one_by_other, &other_by_one], &ek)),
        "ek-chain-loop"
    );
}

#[test]
fn wide_fans_end() {
    let root = Ca::root("Root");
    let fan: Vec<Ca> = (0..20).map(|_| root.issue(ca("Twin"))).collect();
    let stranger = Ca::root("Stranger");
    let offered: Vec<&Ca> = fan.iter().collect();
    let mut params = leaf();
    params.use_authority_key_identifier_extension = false;
    let ek = stranger.under_the_name("Twin".into()).endorse(params);
    assert_eq!(code(verify(&root, &offered, &ek)), "ek-chain-too-costly");
    // The key identifier finds the right one among them at once.
    assert!(verify(&root, &offered, &fan[19].endorse(leaf())).is_ok());
}
