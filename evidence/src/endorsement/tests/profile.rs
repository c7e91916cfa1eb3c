//! What each certificate of a chain must say: when it holds, what it is for, whose EK it names.

use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};

use super::workshop::*;
use super::*;

#[test]
fn validity_holds_for_every_certificate_and_both_ends() {
    let late = |mut params: rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params
    };
    let early = |mut params: rcgen::CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params
    };
    let root = Ca::root("Root");
    assert_eq!(
        code(verify(&root, &[], &root.endorse(late(leaf())))),
        "ek-certificate-not-yet-valid"
    );
    assert_eq!(
        code(verify(&root, &[], &root.endorse(early(leaf())))),
        "ek-certificate-expired"
    );
    let middle = root.issue(early(ca("Middle")));
    assert_eq!(
        code(verify(&root, &[&middle], &middle.endorse(leaf()))),
        "ek-certificate-expired"
    );
    let old = Ca::self_signed(early(ca("Old")), &rcgen::PKCS_ECDSA_P256_SHA256);
    assert_eq!(
        code(verify(&old, &[], &old.endorse(leaf()))),
        "ek-certificate-expired"
    );

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
    let endless = |mut params: rcgen::CertificateParams| {
        params.not_after =
            rcgen::date_time_ymd(9999, 12, 31) + std::time::Duration::from_secs(86_399);
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
    let root = Ca::root("Root");
    let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = leaf();
        change(&mut params);
        code(verify(&root, &[], &root.endorse(params)))
    };
    assert_eq!(with(&|_| ()), "verified");
    assert_eq!(
        with(&|leaf| leaf.extended_key_usages.clear()),
        "ek-certificate-purpose"
    );
    assert_eq!(
        with(&|leaf| leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Any]),
        "ek-certificate-purpose"
    );
    assert_eq!(
        with(&|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        "ek-certificate-is-ca"
    );
    assert_eq!(
        with(&|leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
        "ek-certificate-may-sign"
    );
    assert_eq!(
        with(&|leaf| leaf.custom_extensions.clear()),
        "ek-tpm-name-missing"
    );
    assert_eq!(
        with(&|leaf| leaf.custom_extensions = vec![alt_name(&[(1, "IBM"), (2, "m"), (3, "v")])]),
        "ek-tpm-name-malformed"
    );
    assert_eq!(
        with(&|leaf| leaf.custom_extensions = vec![alt_name(&[(1, "id:00001014"), (2, "m")])]),
        "ek-tpm-name-malformed"
    );
    assert_eq!(with(&|leaf| leaf.is_ca = IsCa::ExplicitNoCa), "verified");
}

#[test]
fn an_empty_subject_needs_a_critical_alternative_name() {
    let root = Ca::root("Root");
    let mut nameless = leaf();
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    let ek = root.endorse(nameless.clone());
    assert_eq!(code(verify(&root, &[], &ek)), "ek-alt-name-not-critical");
    for extension in &mut nameless.custom_extensions {
        extension.set_criticality(true);
    }
    assert!(verify(&root, &[], &root.endorse(nameless)).is_ok());
}

#[test]
fn issuers_must_be_cas_that_may_sign_eks() {
    let root = Ca::root("Root");
    let through = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = ca("Middle");
        change(&mut params);
        let middle = root.issue(params);
        code(verify(&root, &[&middle], &middle.endorse(leaf())))
    };
    assert_eq!(through(&|ca| ca.is_ca = IsCa::NoCa), "ek-issuer-not-ca");
    assert_eq!(
        through(&|ca| ca.is_ca = IsCa::ExplicitNoCa),
        "ek-issuer-not-ca"
    );
    assert_eq!(
        through(&|ca| ca.key_usages = vec![KeyUsagePurpose::CrlSign]),
        "ek-issuer-may-not-sign"
    );
    assert_eq!(through(&|ca| ca.key_usages.clear()), "verified");
    assert_eq!(
        through(&|ca| ca.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]),
        "ek-issuer-purpose"
    );
    assert_eq!(
        through(&|ca| ca.extended_key_usages = vec![ek_purpose()]),
        "verified"
    );
    // An EK certificate cannot issue another one.
    let ek = root.endorse(leaf());
    let ca_of_ek = Ca::of_certificate(&root, leaf());
    let forged = ca_of_ek.endorse(leaf());
    assert_eq!(
        code(verify(&root, &[&ca_of_ek], &forged)),
        "ek-issuer-not-ca"
    );
    assert!(verify(&root, &[], &ek).is_ok());
}

#[test]
fn unknown_critical_extensions_are_refused_anywhere() {
    let odd = |critical: bool| {
        let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
        extension.set_criticality(critical);
        extension
    };
    let root = Ca::root("Root");
    for (critical, expected) in [(false, "verified"), (true, "ek-unknown-critical-extension")] {
        let mut params = leaf();
        params.custom_extensions.push(odd(critical));
        assert_eq!(code(verify(&root, &[], &root.endorse(params))), expected);
        let mut params = ca("Middle");
        params.custom_extensions.push(odd(critical));
        let middle = root.issue(params);
        assert_eq!(
            code(verify(&root, &[&middle], &middle.endorse(leaf()))),
            expected
        );
    }
    let mut constrained = ca("Middle");
    constrained.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let middle = root.issue(constrained);
    assert_eq!(
        code(verify(&root, &[&middle], &middle.endorse(leaf()))),
        "ek-unknown-critical-extension"
    );
}

#[test]
fn critical_policies_are_accepted() {
    // SEQUENCE { SEQUENCE { OID anyPolicy } }, critical: as one vendor intermediate in seven has it.
    let policy = tlv(0x30, &tlv(0x30, &tlv(0x06, &[0x55, 0x1d, 0x20, 0x00])));
    let mut policies = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 32], policy);
    policies.set_criticality(true);
    let root = Ca::root("Root");
    let mut params = ca("Middle");
    params.custom_extensions.push(policies);
    let middle = root.issue(params);
    assert!(verify(&root, &[&middle], &middle.endorse(leaf())).is_ok());
}
