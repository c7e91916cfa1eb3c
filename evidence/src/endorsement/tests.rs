//! Generated chains: what real vendors do passes, and each thing that is wrong has its own error.

mod corpus;
mod oracles;
mod platform;
mod revocation;
mod workshop;

use proptest::prelude::*;
use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};

use super::*;
use workshop::*;

/// Verifies at [`NOW`] against one root of class manufacturer.
fn verify(root: &Ca, offered: &[&Ca], ek: &Ek) -> Result<VerifiedEndorsement, EndorsementError> {
    verify_among(&roots(&[root]), offered, ek)
}

fn verify_among(
    roots: &EndorsementRoots,
    offered: &[&Ca],
    ek: &Ek,
) -> Result<VerifiedEndorsement, EndorsementError> {
    let offered: Vec<&[u8]> = offered.iter().map(|ca| &ca.der[..]).collect();
    roots.verify(&ek.certificate, &offered, &ek.spki, NOW)
}

fn code(result: Result<VerifiedEndorsement, EndorsementError>) -> &'static str {
    match result {
        Ok(_) => "verified",
        Err(error) => error.code(),
    }
}

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
fn every_curve_and_rsa_sign() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_RSA_SHA384,
        &rcgen::PKCS_RSA_SHA512,
    ] {
        let root = Ca::root_with("Root", algorithm);
        let ek = root.endorse(leaf());
        assert!(verify(&root, &[], &ek).is_ok(), "{algorithm:?}");
    }
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

#[test]
fn short_rsa_keys_are_refused() {
    let root = Ca::root("Root");
    let (certificate, spki) = root.certify_rsa(64, leaf());
    let ek = Ek { certificate, spki };
    let refused = verify(&root, &[], &ek);
    assert!(matches!(
        refused,
        Err(EndorsementError::WeakRsa { bits: 512, .. })
    ));
    assert_eq!(code(refused), "ek-weak-rsa");
    let (certificate, _) = root.certify_rsa(128, ca("Weak"));
    let stranger = Ca::root("Stranger").under_the_name("Weak".into());
    let mut params = leaf();
    params.use_authority_key_identifier_extension = false;
    let ek = stranger.endorse(params);
    let result = roots(&[&root]).verify(&ek.certificate, &[certificate], &ek.spki, NOW);
    assert!(matches!(
        result,
        Err(EndorsementError::WeakRsa { bits: 1024, .. })
    ));
}

/// RSA-2048 with the modulus M·k + 1, M the product of the first 126 primes: 1 is a power of 65537
/// modulo each of them. Nobody holds it.
#[test]
fn an_ek_of_the_faulty_generator_is_refused() {
    let root = Ca::root("Root");
    let mut modulus = vec![1_u8];
    let mut grow = |factor: u32| {
        let mut carry = 0_u32;
        for byte in &mut modulus {
            carry += u32::from(*byte) * factor;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            modulus.push(carry as u8);
            carry >>= 8;
        }
        modulus.len() == 256 && modulus[255] >= 0x80
    };
    for number in 2..=701_u32 {
        if (2..number).all(|divisor| number % divisor != 0) {
            grow(number);
        }
    }
    while !grow(2) {}
    modulus[0] += 1;
    modulus.reverse();
    let (certificate, spki) = root.certify_modulus(&modulus, leaf());
    assert_eq!(
        code(verify(&root, &[], &Ek { certificate, spki })),
        "ek-roca-weak"
    );
    *modulus.last_mut().unwrap() += 2;
    let (certificate, spki) = root.certify_modulus(&modulus, leaf());
    assert!(verify(&root, &[], &Ek { certificate, spki }).is_ok());
}

#[test]
fn long_rsa_keys_are_refused() {
    let root = Ca::root("Root");
    let (certificate, spki) = root.certify_rsa(1025, leaf());
    assert_eq!(
        code(verify(&root, &[], &Ek { certificate, spki })),
        "ek-unsupported-key"
    );
}

#[test]
fn weak_and_unknown_signatures_have_their_own_errors() {
    // sha256WithRSAEncryption, of which only the last byte changes.
    const OID: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    let root = Ca::root_with("Root", &rcgen::PKCS_RSA_SHA256);
    let ek = root.endorse(leaf());
    let signed_with = |last: u8, times: usize| {
        let mut certificate = ek.certificate.clone();
        let starts = certificate
            .windows(9)
            .enumerate()
            .filter(|(_, bytes)| *bytes == OID);
        let starts: Vec<usize> = starts.map(|(start, _)| start).collect();
        assert_eq!(starts.len(), 2);
        for start in starts.into_iter().take(times) {
            certificate[start + 8] = last;
        }
        let spki = ek.spki.clone();
        code(verify(&root, &[], &Ek { certificate, spki }))
    };
    assert_eq!(signed_with(0x0b, 2), "verified");
    assert_eq!(signed_with(0x05, 2), "ek-sha1-signature");
    assert_eq!(signed_with(0x0a, 2), "ek-unsupported-signature");
    assert_eq!(signed_with(0x0c, 2), "ek-bad-signature");
    assert_eq!(signed_with(0x0c, 1), "ek-certificate-malformed");
}

#[test]
fn the_key_must_be_that_of_the_tpm() {
    let root = Ca::root("Root");
    let (ek, other) = (root.endorse(leaf()), root.endorse(leaf()));
    let verify = |spki: &[u8]| code(roots(&[&root]).verify(&ek.certificate, &NONE, spki, NOW));
    assert_eq!(verify(&ek.spki), "verified");
    assert_eq!(verify(&other.spki), "ek-key-mismatch");
    assert_eq!(verify(&[]), "ek-public-malformed");
    assert_eq!(
        verify(&[&ek.spki[..], &[0]].concat()),
        "ek-public-malformed"
    );
}

#[test]
fn an_rsa_ek_may_be_certified_as_oaep_but_not_named_so() {
    let root = Ca::root("Root");
    let (certificate, spki) = root.certify_rsa(256, leaf());
    // id-RSAES-OAEP for rsaEncryption inside the certificate breaks the signature, so compare keys.
    let oaep = |der: &[u8]| {
        let mut der = der.to_vec();
        let start = der
            .windows(9)
            .position(|bytes| bytes == RSA_ENCRYPTION)
            .unwrap();
        der[start + 8] = 0x07;
        der
    };
    let parsed = certificate::Certificate::parse(&oaep(&certificate)).unwrap();
    assert_eq!(Some(parsed.key), public_key::PublicKey::of_canonical(&spki));
    assert_eq!(public_key::PublicKey::of_canonical(&oaep(&spki)), None);
    for certificate in [&certificate, &oaep(&certificate)] {
        assert_eq!(certified_key(certificate).as_ref(), Some(&spki));
    }
}

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

/// DER leaves a default out; some TPM vendors write it all the same.
#[test]
fn a_default_that_is_written_out_passes() {
    let root = Ca::root("Root");
    let mut explicit = leaf();
    let content = tlv(0x30, &tlv(0x01, &[0x00]));
    let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 19], content);
    explicit.custom_extensions.push(extension);
    let refused = verify(&root, &[], &root.endorse(explicit)).err();
    assert_eq!(refused.map_or("none", |error| error.code()), "none");
}

#[test]
fn what_is_not_strict_der_is_taken_or_refused_but_does_not_panic() {
    let root = Ca::root("Root");
    let ek = root.endorse(leaf());
    let mut padded = ek.certificate.clone();
    padded.extend_from_slice(&[0xff; 100]);
    let padded = Ek {
        certificate: padded,
        spki: ek.spki.clone(),
    };
    let verified = verify(&root, &[], &padded).unwrap();
    assert_eq!(
        verified.certificate_digest(),
        Sha256Digest::of(&ek.certificate)
    );

    // DER leaves out a default; some TPM vendors write `cA FALSE` all the same.
    let mut explicit = leaf();
    let content = tlv(0x30, &tlv(0x01, &[0x00]));
    let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 19], content);
    explicit.custom_extensions.push(extension.clone());
    assert!(verify(&root, &[], &root.endorse(explicit.clone())).is_ok());
    explicit.custom_extensions.push(extension);
    assert_eq!(
        verify(&root, &[], &root.endorse(explicit)),
        Err(EndorsementError::Malformed {
            which: "the EK certificate".to_owned(),
            source: CertificateError::DuplicateExtension("2.5.29.19".to_owned())
        })
    );
    let mut unreadable = leaf();
    let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x05]);
    unreadable.custom_extensions.push(extension);
    assert_eq!(
        code(verify(&root, &[], &root.endorse(unreadable))),
        "ek-certificate-malformed"
    );
    let roots = roots(&[&root]);
    let huge = vec![0x30; 20_000];
    assert_eq!(
        code(roots.verify(&huge, &NONE, &ek.spki, NOW)),
        "ek-certificate-malformed"
    );
    let offered = roots
        .verify(&ek.certificate, &[b"junk"], &ek.spki, NOW)
        .unwrap_err();
    assert_eq!(offered.to_string(), "intermediate 1 cannot be parsed");
}

proptest! {
    #[test]
    fn no_changed_byte_is_believed(position: prop::sample::Index, change in 1_u8..) {
        let (root, ek) = fixture();
        let mut certificate = ek.certificate.clone();
        let at = position.index(certificate.len());
        certificate[at] ^= change;
        let spki = ek.spki.clone();
        let result = verify(root, &[], &Ek { certificate, spki });
        // The parser overlooks odd tags outside the signed part. They say nothing.
        let sound = certificate::Certificate::parse(&ek.certificate).unwrap();
        let signed = 4..4 + sound.signed_part.len();
        let signature = ek.certificate.len() - sound.signature.len()..ek.certificate.len();
        let matters = signed.contains(&at) || signature.contains(&at);
        prop_assert!(result.is_err() || !matters);
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (root, ek) = fixture();
        let roots = roots(&[root]);
        prop_assert!(roots.verify(&bytes, &NONE, &ek.spki, NOW).is_err());
        prop_assert!(roots.verify(&ek.certificate, &NONE, &bytes, NOW).is_err());
        let _ = EndorsementRoots::new().add_pem(&bytes, RootClass::Cloud, &[]);
    }
}
