//! Which issuer signed which certificate: chains that lead to an imported root, and those that do not.

use super::workshop::*;
use super::*;

#[test]
fn a_chain_of_three_verifies_and_says_what_it_proved() {
    let root = Ca::root("Root");
    let middle = root.issue(ca("Middle"));
    let ek = middle.endorse(leaf());
    let verified = verify(&root, &[&middle], &ek).unwrap();
    assert_eq!(verified.class(), RootClass::Manufacturer);
    assert_eq!(verified.manufacturer(), "id:00001014".parse().unwrap());
    assert_eq!(
        (verified.model(), verified.version()),
        ("swtpm", "id:20191023")
    );
    assert_eq!(verified.ek_digest(), Sha256Digest::of(&ek.spki));
    assert_eq!(
        verified.certificate_digest(),
        Sha256Digest::of(&ek.certificate)
    );
    assert_eq!(verified.valid_until(), Some(NOT_AFTER));
}

#[test]
fn intermediates_come_from_the_import_or_the_host_in_any_order() {
    let root = Ca::root("Root");
    let upper = root.issue(ca("Upper"));
    let lower = upper.issue(ca("Lower"));
    let stranger = Ca::root("Stranger");
    let ek = lower.endorse(leaf());
    assert!(verify(&root, &[&stranger, &lower, &upper, &lower], &ek).is_ok());

    let mut roots = roots(&[&root]);
    let bundle = [lower.pem(), upper.pem()].concat();
    let imported = roots.add_pem(bundle.as_bytes(), RootClass::Manufacturer, &[]);
    assert_eq!(
        imported.unwrap(),
        Imported {
            intermediates: 2,
            ..Imported::default()
        }
    );
    assert!(verify_among(&roots, &[], &ek).is_ok());
}

#[test]
fn the_issuer_is_found_by_name_or_by_key_identifier() {
    let root = Ca::root("TPM Root");
    // Another spelling of the name and another string type.
    let renamed = root.under_the_name(printable("tpm  ROOT"));
    assert!(verify(&root, &[], &renamed.endorse(leaf())).is_ok());
    // Another name altogether, but the right key identifier.
    let renamed = root.under_the_name("Somebody else".into());
    assert!(verify(&root, &[], &renamed.endorse(leaf())).is_ok());
    // The right name, and a wrong or no key identifier.
    let mistaken = root.with_key_identifier(vec![1; 20]);
    assert!(verify(&root, &[], &mistaken.endorse(leaf())).is_ok());
    let mut without = leaf();
    without.use_authority_key_identifier_extension = false;
    assert!(verify(&root, &[], &root.endorse(without.clone())).is_ok());
    // Neither.
    let ek = renamed.endorse(without);
    assert_eq!(code(verify(&root, &[], &ek)), "ek-issuer-missing");
}

#[test]
fn a_cross_signed_ca_leads_to_the_imported_root() {
    let (old, new) = (Ca::root("Old"), Ca::root("New"));
    let crossed = old.certify(&new);
    let ek = new.endorse(leaf());
    // Its own self-signed certificate is offered first and is no root here.
    assert!(verify(&old, &[&new, &crossed], &ek).is_ok());
    assert_eq!(code(verify(&old, &[&new], &ek)), "ek-unknown-root");
}

#[test]
fn an_unknown_ca_is_refused() {
    let (root, stranger) = (Ca::root("Root"), Ca::root("Stranger"));
    let middle = stranger.issue(ca("Middle"));
    let ek = middle.endorse(leaf());
    assert_eq!(
        verify(&root, &[&middle, &stranger], &ek),
        Err(EndorsementError::UnknownRoot {
            subject: "CN=Stranger".to_owned()
        })
    );
    assert_eq!(code(verify(&root, &[&middle], &ek)), "ek-issuer-missing");
    let none = EndorsementRoots::new();
    assert_eq!(
        code(verify_among(&none, &[&middle, &stranger], &ek)),
        "ek-unknown-root"
    );
}

#[test]
fn an_impostor_with_the_name_of_the_root_is_refused() {
    let (root, impostor) = (Ca::root("Root"), Ca::root("Root"));
    let ek = impostor.endorse(leaf());
    assert_eq!(code(verify(&root, &[], &ek)), "ek-bad-signature");
    assert_eq!(code(verify(&root, &[&impostor], &ek)), "ek-unknown-root");
}

#[test]
fn a_missing_intermediate_is_named() {
    let root = Ca::root("Root");
    let upper = root.issue(ca("Upper"));
    let lower = upper.issue(ca("Lower"));
    assert_eq!(
        verify(&root, &[&lower], &lower.endorse(leaf())),
        Err(EndorsementError::IssuerMissing {
            subject: "CN=Lower".to_owned(),
            issuer: "CN=Upper".to_owned()
        })
    );
    let ek = lower.endorse(leaf());
    assert_eq!(code(verify(&root, &[&lower], &ek)), "ek-issuer-missing");
}
