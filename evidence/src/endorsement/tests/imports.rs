//! What an import takes as roots, and for what its roots vouch.

use super::workshop::*;
use super::*;

#[test]
fn roots_vouch_only_for_their_manufacturers_and_class() {
    let root = Ca::root("Root");
    let ek = root.endorse(leaf());
    let (ibm, intel) = ("id:00001014".parse().unwrap(), ManufacturerId(*b"INTC"));
    let with = |manufacturers: &[ManufacturerId]| {
        let mut roots = EndorsementRoots::new();
        roots
            .add_pem(root.pem().as_bytes(), RootClass::Simulator, manufacturers)
            .unwrap();
        verify_among(&roots, &[], &ek)
    };
    assert_eq!(with(&[intel, ibm]).unwrap().class(), RootClass::Simulator);
    assert_eq!(code(with(&[intel])), "ek-manufacturer-not-vouched");
}

#[test]
fn imports_are_whole_or_not_at_all() {
    let (root, other) = (Ca::root("Root"), Ca::root("Other"));
    let mut roots = roots(&[&root]);
    let again = roots.add_pem(root.pem().as_bytes(), RootClass::Manufacturer, &[]);
    assert_eq!(again, Ok(Imported::default()));
    assert!(matches!(
        roots.add_pem(root.pem().as_bytes(), RootClass::Simulator, &[]),
        Err(RootImportError::Conflict(_))
    ));
    let broken = format!(
        "{}-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
        other.pem()
    );
    assert_eq!(
        roots.add_pem(broken.as_bytes(), RootClass::Cloud, &[]),
        Err(RootImportError::Pem(2))
    );
    for text in ["", "no certificate\n"] {
        assert_eq!(
            roots.add_pem(text.as_bytes(), RootClass::Cloud, &[]),
            Err(RootImportError::Empty)
        );
    }
    assert_eq!(roots.anchors().count(), 1);
}

#[test]
fn a_root_signs_itself_and_is_a_ca() {
    let root = Ca::root("Root");
    let import = |pem: &str| EndorsementRoots::new().add_pem(pem.as_bytes(), RootClass::Cloud, &[]);
    let unfit = |result| match result {
        Err(RootImportError::Unfit { number: 1, source }) => source.code(),
        other => panic!("{other:?}"),
    };
    // Names itself as issuer, and is signed by another key.
    let forged = Ca::root("Root").certify(&root);
    assert_eq!(unfit(import(&forged.pem())), "ek-bad-signature");
    let not_ca = Ca::self_signed(leaf(), &rcgen::PKCS_ECDSA_P256_SHA256);
    assert_eq!(unfit(import(&not_ca.pem())), "ek-issuer-not-ca");
    // Another's child is no root, unless the operator says so.
    let child = root.issue(ca("Child"));
    let imported = import(&child.pem()).unwrap();
    assert_eq!(
        imported,
        Imported {
            intermediates: 1,
            ..Imported::default()
        }
    );
    let mut roots = EndorsementRoots::new();
    roots.add_anchor(&child.der, RootClass::Cloud, &[]).unwrap();
    assert!(verify_among(&roots, &[], &child.endorse(leaf())).is_ok());
    assert_eq!(
        code(verify_among(&roots, &[], &root.endorse(leaf()))),
        "ek-issuer-missing"
    );
}
