//! What each certificate of a chain must say: when it holds, what it is for, whose EK it names.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use super::workshop::*;
use super::*;

/// A change to what a certificate says, and what is said of its chain then.
type Case = (fn(&mut CertificateParams), &'static str);

/// The chain of an EK certificate that was changed.
fn with_leaf(root: &Ca, change: impl FnOnce(&mut CertificateParams)) -> &'static str {
    let mut params = leaf();
    change(&mut params);
    code(verify(root, &[], &root.endorse(params)))
}

/// The chain through an intermediate that was changed.
fn with_middle(root: &Ca, change: impl FnOnce(&mut CertificateParams)) -> &'static str {
    let mut params = ca("Middle");
    change(&mut params);
    let middle = root.issue(params);
    code(verify(root, &[&middle], &middle.endorse(leaf())))
}

#[test]
fn validity_holds_for_every_certificate_and_both_ends() {
    let late = |params: &mut CertificateParams| params.not_before = date_time_ymd(2030, 1, 1);
    let early = |params: &mut CertificateParams| params.not_after = date_time_ymd(2021, 1, 1);
    let root = Ca::root("Root");
    assert_eq!(with_leaf(&root, late), "ek-certificate-not-yet-valid");
    assert_eq!(with_leaf(&root, early), "ek-certificate-expired");
    assert_eq!(with_middle(&root, early), "ek-certificate-expired");
    let mut params = ca("Old");
    early(&mut params);
    let old = Ca::self_signed(params, &PKCS_ECDSA_P256_SHA256);
    assert_eq!(with_leaf(&old, |_| ()), "ek-certificate-expired");

    let ek = root.endorse(leaf());
    let at = |now| code(roots(&[&root]).verify(&ek.certificate, &NONE, &ek.spki, now));
    assert_eq!(at(NOT_BEFORE - 1), "ek-certificate-not-yet-valid");
    assert_eq!(at(NOT_BEFORE), "verified");
    assert_eq!(at(NOT_AFTER), "verified");
    assert_eq!(at(NOT_AFTER + 1), "ek-certificate-expired");
    assert_eq!(at(i64::MIN), "ek-certificate-not-yet-valid");
    assert_eq!(at(i64::MAX), "ek-certificate-expired");
}

#[test]
fn the_end_of_time_is_no_expiry() {
    let endless = |mut params: CertificateParams| {
        params.not_after = date_time_ymd(9999, 12, 31) + Duration::from_secs(86_399);
        params
    };
    let root = Ca::self_signed(endless(ca("Root")), &rcgen::PKCS_ECDSA_P256_SHA256);
    let verified = verify(&root, &[], &root.endorse(endless(leaf()))).unwrap();
    assert_eq!(verified.valid_until(), None);
    let verified = verify(&root, &[], &root.endorse(leaf())).unwrap();
    assert_eq!(verified.valid_until(), Some(NOT_AFTER));
}

#[test]
fn the_leaf_follows_the_profile() {
    let cases: [Case; 9] = [
        (|_| (), "verified"),
        (|leaf| leaf.is_ca = IsCa::ExplicitNoCa, "verified"),
        (
            |leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            "ek-certificate-is-ca",
        ),
        (
            |leaf| leaf.extended_key_usages.clear(),
            "ek-certificate-purpose",
        ),
        (
            |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
            "ek-certificate-purpose",
        ),
        (
            |leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyCertSign],
            "ek-certificate-may-sign",
        ),
        (|leaf| leaf.custom_extensions.clear(), "ek-tpm-name-missing"),
        (
            |leaf| leaf.custom_extensions = vec![alt_name(&[(1, "IBM"), (2, "m"), (3, "v")])],
            "ek-tpm-name-malformed",
        ),
        (
            |leaf| leaf.custom_extensions = vec![alt_name(&[(1, "id:00001014"), (2, "m")])],
            "ek-tpm-name-malformed",
        ),
    ];
    let root = Ca::root("Root");
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        assert_eq!(with_leaf(&root, change), expected, "case {number}");
    }
}

#[test]
fn an_empty_subject_needs_a_critical_alternative_name() {
    let root = Ca::root("Root");
    let nameless = |critical: bool| {
        move |leaf: &mut CertificateParams| {
            leaf.distinguished_name = DistinguishedName::new();
            for extension in &mut leaf.custom_extensions {
                extension.set_criticality(critical);
            }
        }
    };
    assert_eq!(
        with_leaf(&root, nameless(false)),
        "ek-alt-name-not-critical"
    );
    assert_eq!(with_leaf(&root, nameless(true)), "verified");
}

#[test]
fn issuers_must_be_cas_that_may_sign_eks() {
    let cases: [Case; 6] = [
        (|ca| ca.is_ca = IsCa::NoCa, "ek-issuer-not-ca"),
        (|ca| ca.is_ca = IsCa::ExplicitNoCa, "ek-issuer-not-ca"),
        (
            |ca| ca.key_usages = vec![KeyUsagePurpose::CrlSign],
            "ek-issuer-may-not-sign",
        ),
        (|ca| ca.key_usages.clear(), "verified"),
        (
            |ca| ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            "ek-issuer-purpose",
        ),
        (|ca| ca.extended_key_usages = vec![ek_purpose()], "verified"),
    ];
    let root = Ca::root("Root");
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        assert_eq!(with_middle(&root, change), expected, "case {number}");
    }
    // An EK certificate cannot issue another one.
    let ca_of_ek = Ca::of_certificate(&root, leaf());
    let forged = ca_of_ek.endorse(leaf());
    assert_eq!(
        code(verify(&root, &[&ca_of_ek], &forged)),
        "ek-issuer-not-ca"
    );
}

#[test]
fn unknown_critical_extensions_are_refused_anywhere() {
    let odd = |critical: bool| {
        move |params: &mut CertificateParams| {
            let mut extension = CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
            extension.set_criticality(critical);
            params.custom_extensions.push(extension);
        }
    };
    let root = Ca::root("Root");
    for (critical, expected) in [(false, "verified"), (true, "ek-unknown-critical-extension")] {
        assert_eq!(with_leaf(&root, odd(critical)), expected);
        assert_eq!(with_middle(&root, odd(critical)), expected);
    }
    let constrained = |ca: &mut CertificateParams| {
        ca.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    };
    assert_eq!(
        with_middle(&root, constrained),
        "ek-unknown-critical-extension"
    );
}

#[test]
fn critical_policies_are_accepted() {
    // SEQUENCE { SEQUENCE { OID anyPolicy } }, critical: as one vendor intermediate in seven has it.
    let policy = tlv(0x30, &tlv(0x30, &tlv(0x06, &[0x55, 0x1d, 0x20, 0x00])));
    let mut policies = CustomExtension::from_oid_content(&[2, 5, 29, 32], policy);
    policies.set_criticality(true);
    let root = Ca::root("Root");
    let with_policies = |ca: &mut CertificateParams| ca.custom_extensions.push(policies);
    assert_eq!(with_middle(&root, with_policies), "verified");
}
