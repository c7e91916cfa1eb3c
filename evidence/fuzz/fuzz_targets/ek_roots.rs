//! Import of roots from PEM: whole or not at all, and a second time it adds nothing.
//!
//! An input that is a certificate, DER, is signed anew and put into PEM, so that altered roots get in.

#![no_main]

use touchstone_evidence::endorsement::{EndorsementRoots, Imported, RootClass};
use touchstone_evidence_fuzz::authority::{pem, sign_again};

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    match sign_again(data) {
        Some(certificate) => anchor(&certificate) | import(pem(&certificate).as_bytes()),
        None => import(data),
    }
}

/// A root by the operator's word alone, whoever issued it.
fn anchor(certificate: &[u8]) -> bool {
    let mut roots = EndorsementRoots::new();
    let mut add = |class| roots.add_anchor(certificate, class, &[]);
    let Ok(imported) = add(RootClass::Cloud) else {
        return false;
    };
    assert_eq!((imported.roots, imported.intermediates), (1, 0));
    assert_eq!(add(RootClass::Cloud), Ok(Imported::default()));
    assert!(
        add(RootClass::Simulator).is_err(),
        "one root of two classes"
    );
    for anchor in roots.anchors() {
        assert!(!anchor.subject().contains(char::is_control));
    }
    true
}

fn import(data: &[u8]) -> bool {
    let mut roots = EndorsementRoots::new();
    let Ok(imported) = roots.add_pem(data, RootClass::Manufacturer, &[]) else {
        assert!(roots.is_empty(), "a refused import added something");
        return false;
    };
    assert_eq!(roots.anchors().count(), imported.roots);
    assert_eq!(
        roots.add_pem(data, RootClass::Manufacturer, &[]),
        Ok(Imported::default())
    );
    if !roots.is_empty() {
        let other = roots.add_pem(data, RootClass::Simulator, &[]);
        assert!(other.is_err(), "one root of two classes");
    }
    true
}
