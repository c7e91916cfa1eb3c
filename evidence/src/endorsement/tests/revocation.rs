//! Revocation lists: what they revoke, until when they hold, and which are taken.

use rcgen::{
    CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, KeyUsagePurpose, SerialNumber,
};

use super::workshop::*;
use super::*;

fn bundle(certificates: &[&Ca], lists: &[Vec<u8>]) -> String {
    let certificates = certificates.iter().map(|ca| ca.pem());
    let lists = lists.iter().map(|der| Bundle::pem_block("X509 CRL", der));
    certificates.chain(lists).collect()
}

/// Roots of class manufacturer with these lists.
fn import(certificates: &[&Ca], lists: &[Vec<u8>]) -> Result<EndorsementRoots, RootImportError> {
    let mut roots = EndorsementRoots::new();
    let text = bundle(certificates, lists);
    roots.add_pem(text.as_bytes(), RootClass::Manufacturer, &[])?;
    Ok(roots)
}

fn import_code(result: Result<EndorsementRoots, RootImportError>) -> &'static str {
    match result {
        Ok(_) => "imported",
        Err(error) => error.code(),
    }
}

#[test]
fn a_revoked_ek_certificate_is_refused() {
    let root = Ca::root("Root");
    let (ek, other) = (root.endorse(leaf()), root.endorse(leaf()));
    let list = root.revoke(1, 2025..2027, &[&ek.certificate]);
    let roots = import(&[&root], &[list]).unwrap();
    assert_eq!(
        code(verify_among(&roots, &[], &ek)),
        "ek-certificate-revoked"
    );
    assert_eq!(code(verify_among(&roots, &[], &other)), "verified");
    // Without a list of this issuer nothing is known, and it passes.
    assert_eq!(code(verify(&root, &[], &ek)), "verified");
}

#[test]
fn a_revoked_intermediate_is_refused() {
    let root = Ca::root("Root");
    let (middle, sound) = (root.issue(ca("Middle")), root.issue(ca("Sound")));
    let list = root.revoke(1, 2025..2027, &[&middle.der]);
    let roots = import(&[&root, &middle], &[list]).unwrap();
    let ek = middle.endorse(leaf());
    assert_eq!(code(verify_among(&roots, &[], &ek)), "ek-issuer-revoked");
    let ek = sound.endorse(leaf());
    assert_eq!(code(verify_among(&roots, &[&sound], &ek)), "verified");
    // The root's list says nothing about what the intermediate issued.
    let list = root.revoke(1, 2025..2027, &[&ek.certificate]);
    let roots = import(&[&root], &[list]).unwrap();
    assert_eq!(code(verify_among(&roots, &[&sound], &ek)), "verified");
}

#[test]
fn a_list_that_is_not_of_this_time_lets_nobody_pass() {
    let root = Ca::root("Root");
    let (ek, revoked) = (root.endorse(leaf()), root.endorse(leaf()));
    for years in [2023..2025, 2027..2029] {
        let list = root.revoke(1, years, &[&revoked.certificate]);
        let roots = import(&[&root], &[list]).unwrap();
        assert_eq!(code(verify_among(&roots, &[], &ek)), "ek-crl-stale");
        // What an old list revoked stays revoked.
        let known = verify_among(&roots, &[], &revoked);
        assert_eq!(code(known), "ek-certificate-revoked");
    }
    let mut roots = import(&[&root], &[root.revoke(1, 2023..2025, &[])]).unwrap();
    let list = roots.lists().next().unwrap().clone();
    assert!(list.is_of(list.this_update()) && list.is_of(list.next_update()));
    assert!(!list.is_of(list.this_update() - 1) && !list.is_of(list.next_update() + 1));
    let added = roots.add_list(&root.revoke(2, 2025..2027, &[])).unwrap();
    assert_eq!(added.unwrap().replaced, Some(list.digest()));
    assert_eq!(roots.lists().count(), 1);
    assert_eq!(code(verify_among(&roots, &[], &ek)), "verified");
}

#[test]
fn numbers_of_lists_only_rise() {
    let root = Ca::root("Root");
    let ek = root.endorse(leaf());
    let list = root.revoke(0x1ff, 2025..2027, &[&ek.certificate]);
    let mut roots = import(&[&root], std::slice::from_ref(&list)).unwrap();
    for number in [1, 0x1ff] {
        let older = root.revoke(number, 2026..2028, &[]);
        let refused = roots.add_list(&older).unwrap_err();
        assert_eq!(refused.code(), "crl-not-newer", "{number:#x}");
    }
    assert!(roots.add_list(&list).unwrap().is_none(), "known already");
    assert_eq!(
        code(verify_among(&roots, &[], &ek)),
        "ek-certificate-revoked"
    );
    // A longer number is higher than a shorter one, whatever its digits.
    assert!(
        roots
            .add_list(&root.revoke(0x0001_0000, 2025..2027, &[]))
            .is_ok()
    );
    assert_eq!(code(verify_among(&roots, &[], &ek)), "verified");
}

#[test]
fn a_list_is_believed_only_of_its_own_authority() {
    let (root, stranger) = (Ca::root("Root"), Ca::root("Stranger"));
    let list = |ca: &Ca| vec![ca.revoke(1, 2025..2027, &[])];
    assert_eq!(import_code(import(&[&root], &list(&root))), "imported");
    assert_eq!(
        import_code(import(&[&root], &list(&stranger))),
        "crl-issuer-unknown"
    );
    // Of the same name and another key, without and with its own key identifier.
    let impostor = Ca::root("Root");
    assert_eq!(
        import_code(import(&[&root], &list(&impostor))),
        "crl-signature-invalid"
    );
    let mute = root.with_usages(&[KeyUsagePurpose::KeyCertSign]);
    assert_eq!(
        import_code(import(&[&mute], &list(&root))),
        "crl-signature-invalid"
    );
    // The order within a bundle does not matter, and a bundle is imported whole or not at all.
    let text = [bundle(&[], &list(&root)), bundle(&[&root], &[])].concat();
    let mut roots = EndorsementRoots::new();
    let imported = roots
        .add_pem(text.as_bytes(), RootClass::Cloud, &[])
        .unwrap();
    assert_eq!((imported.roots, imported.lists), (1, 1));
    let mut roots = EndorsementRoots::new();
    let text = bundle(&[&root], &list(&stranger));
    assert!(
        roots
            .add_pem(text.as_bytes(), RootClass::Cloud, &[])
            .is_err()
    );
    assert!(roots.is_empty());
}

#[test]
fn no_flipped_bit_of_a_list_is_believed() {
    let root = Ca::root("Root");
    let ek = root.endorse(leaf());
    let list = root.revoke(7, 2025..2027, &[&ek.certificate]);
    let mut roots = import(&[&root], &[]).unwrap();
    for bit in 0..list.len() * 8 {
        let mut flipped = list.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(Some(added)) = roots.add_list(&flipped) else {
            continue;
        };
        // The parser overlooks odd tags outside the signed part. They say nothing.
        assert_eq!(added.list.revoked(), 1, "bit {bit}");
        roots = import(&[&root], &[]).unwrap();
    }
    for length in 0..list.len() {
        assert!(roots.add_list(&list[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn lists_that_leave_something_out_are_refused() {
    let root = Ca::root("Root");
    let malformed = |der: Vec<u8>| {
        let refused = import(&[&root], &[der]).unwrap_err();
        assert_eq!(refused.code(), "crl-malformed");
        refused.to_string()
    };
    let mut partial = list_params(1, 2025..2027, &[]);
    partial.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint {
            uris: vec!["http://example/crl".to_owned()],
        },
        scope: Some(CrlScope::CaCertsOnly),
    });
    let said = malformed(root.list(&partial));
    assert!(said.contains("2.5.29.28"), "{said}");
    let long = list_params(1, 2025..2027, &[]);
    let long = rcgen::CertificateRevocationListParams {
        crl_number: SerialNumber::from(vec![7; 21]),
        ..long
    };
    let said = malformed(root.list(&long));
    assert!(said.contains("number"), "{said}");
    let said = malformed(vec![0x30; (1 << 20) + 1]);
    assert!(said.contains("bytes"), "{said}");
    let mut padded = root.revoke(1, 2025..2027, &[]);
    padded.push(0);
    malformed(padded);
    malformed(without_next_update(&root.revoke(1, 2025..2027, &[])));
}

/// The list without its next update. Its signature no longer verifies, which is looked at later.
fn without_next_update(list: &[u8]) -> Vec<u8> {
    // Two UTCTime elements, one after the other: thisUpdate and nextUpdate.
    let at = list
        .windows(30)
        .position(|bytes| bytes[..2] == [0x17, 13] && bytes[15..17] == [0x17, 13])
        .unwrap();
    let mut shorter = list.to_vec();
    shorter.drain(at + 15..at + 30);
    // Both lengths around it are of the long form with two bytes, or one.
    for header in [0, header_length(list)] {
        match shorter[header + 1] {
            0x82 => {
                let length = u16::from_be_bytes([shorter[header + 2], shorter[header + 3]]) - 15;
                shorter[header + 2..header + 4].copy_from_slice(&length.to_be_bytes());
            }
            0x81 => shorter[header + 2] -= 15,
            _ => shorter[header + 1] -= 15,
        }
    }
    shorter
}

fn header_length(der: &[u8]) -> usize {
    match der[1] {
        0x82 => 4,
        0x81 => 3,
        _ => 2,
    }
}

#[test]
fn files_are_known_by_what_they_hold() {
    let root = Ca::root("Root");
    let list = root.revoke(1, 2025..2027, &[]);
    let kind = |bytes: &[u8]| {
        Bundle::pem_of_file(bytes).map(|pem| pem.lines().next().unwrap_or_default().to_owned())
    };
    assert_eq!(kind(&root.der).unwrap(), "-----BEGIN CERTIFICATE-----");
    assert_eq!(kind(&list).unwrap(), "-----BEGIN X509 CRL-----");
    assert_eq!(
        kind(root.pem().as_bytes()).unwrap(),
        "-----BEGIN CERTIFICATE-----"
    );
    assert_eq!(kind(&[0x30, 0x82, 0xff]), None);
    let bundle = Bundle::from_pem(bundle(&[&root], &[list]).as_bytes()).unwrap();
    assert!(bundle.has_certificates());
    assert_eq!(bundle.certificates_pem(), root.pem());
}
