//! Revocation lists of a fixed root. The input is tried as it is and, if only its signature fails, signed
//! again.

#![no_main]

use std::sync::LazyLock;

use touchstone_evidence::endorsement::{AddedList, EndorsementRoots, RootClass, RootImportError};
use touchstone_evidence_fuzz::NOW;
use touchstone_evidence_fuzz::authority::{EK, ROOT, ek_certificate, sign_again};

touchstone_evidence_fuzz::target!(check);

static ROOTS: LazyLock<EndorsementRoots> = LazyLock::new(|| {
    let mut roots = EndorsementRoots::new();
    roots.add_anchor(&ROOT, RootClass::Cloud, &[]).unwrap();
    roots
});

static LEAF: LazyLock<Vec<u8>> = LazyLock::new(|| ek_certificate("Root"));

fn check(data: &[u8]) -> bool {
    match add(data) {
        Err(RootImportError::ListNotSigned { .. }) => {
            sign_again(data).is_some_and(|list| add(&list).is_ok())
        }
        added => added.is_ok(),
    }
}

fn add(list: &[u8]) -> Result<(), RootImportError> {
    let mut roots = ROOTS.clone();
    let Some(AddedList {
        list: known,
        replaced,
    }) = roots.add_list(list)?
    else {
        panic!("known before it was added");
    };
    assert_eq!(replaced, None);
    assert!(!known.issuer().contains(char::is_control));
    assert_eq!(roots.lists().count(), 1);
    assert!(roots.add_list(list)?.is_none(), "added twice");
    // Whoever passes passes because the list is of this time and does not name it.
    let verified = roots.verify(&LEAF, &[] as &[&[u8]], &EK, NOW);
    match verified {
        Ok(_) => assert!(known.is_of(NOW)),
        Err(error) if known.is_of(NOW) => assert_eq!(error.code(), "ek-certificate-revoked"),
        Err(error) => assert!(
            ["ek-certificate-revoked", "ek-crl-stale"].contains(&error.code()),
            "{error}"
        ),
    }
    if known.revoked() == 0 && known.is_of(NOW) {
        assert!(roots.verify(&LEAF, &[] as &[&[u8]], &EK, NOW).is_ok());
    }
    Ok(())
}
