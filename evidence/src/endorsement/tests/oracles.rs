//! Our verdict on a chain beside those of rustls-webpki and of `openssl verify`.
//!
//! Where one of them accepts we must, unless by a rule of [`STRICTER`]; where we accept and one of
//! them does not, its reason must be one of [`MORE_LENIENT`].

use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::workshop::*;
use super::*;
use crate::corpus::{MACHINES, folder};

/// 2.23.133.8.1, contents of the OBJECT IDENTIFIER.
const EK_PURPOSE_DER: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];

/// Our refusals where an oracle accepts: it does not know EK certificates, or asks for less.
const STRICTER: [(&str, &str); 14] = [
    (
        "ek-alt-name-not-critical",
        "RFC 5280 §4.2.1.6, which neither asks",
    ),
    ("ek-certificate-is-ca", "an EK certificate is no CA's"),
    ("ek-certificate-may-sign", "an EK signs nothing"),
    (
        "ek-certificate-purpose",
        "openssl does not ask it, webpki only where purposes are named",
    ),
    ("ek-chain-too-deep", "no vendor's chain is so long"),
    (
        "ek-issuer-may-not-sign",
        "webpki does not ask an issuer's key usage",
    ),
    ("ek-issuer-purpose", "openssl does not ask it"),
    ("ek-key-mismatch", "the TPM's own key is known to us alone"),
    ("ek-manufacturer-not-vouched", "a rule of the import"),
    ("ek-roca-weak", "neither looks for it"),
    ("ek-tpm-name-malformed", "a TPM must be named"),
    ("ek-tpm-name-missing", "a TPM must be named"),
    ("ek-unsupported-key", "openssl takes RSA of any length"),
    ("ek-weak-rsa", "neither asks how long a leaf's key is"),
];

/// An oracle's refusals where we accept: (chain, oracle, its words, why we take it all the same).
const MORE_LENIENT: [(&str, &str, &str, &str); 9] = [
    (
        "cross-signed",
        "openssl",
        "self-signed certificate in certificate chain",
        "it follows the self-signed certificate that is offered beside the cross-signed one",
    ),
    (
        "last second",
        "openssl",
        "certificate has expired",
        "the end of validity is inclusive (RFC 5280 §4.1.2.5)",
    ),
    (
        "critical policies",
        "webpki",
        "UnsupportedCriticalExtension",
        "one vendor intermediate in seven has them",
    ),
    (
        "name spelt otherwise",
        "webpki",
        "UnknownIssuer",
        "it compares names by their bytes",
    ),
    (
        "name of another string type",
        "webpki",
        "UnknownIssuer",
        "it compares names by their bytes",
    ),
    (
        "name of somebody else",
        "webpki",
        "UnknownIssuer",
        "the key identifier is right, and the signature verifies",
    ),
    (
        "name of somebody else",
        "openssl",
        "unable to get local issuer certificate",
        "the key identifier is right, and the signature verifies",
    ),
    (
        "wrong key identifier",
        "openssl",
        "unable to get local issuer certificate",
        "the name is right, and the signature verifies",
    ),
    (
        "padding",
        "webpki",
        "TrailingData",
        "some TPMs pad the NV index of their certificate",
    ),
];

/// A chain to judge.
struct Case {
    name: &'static str,
    root: Vec<u8>,
    offered: Vec<Vec<u8>>,
    ek: Ek,
    now: i64,
}

fn case(name: &'static str, root: &Ca, offered: &[&Ca], ek: Ek) -> Case {
    Case {
        name,
        root: root.der.clone(),
        offered: offered.iter().map(|ca| ca.der.clone()).collect(),
        ek,
        now: NOW,
    }
}

fn ours(case: &Case) -> &'static str {
    let mut roots = EndorsementRoots::new();
    let pem = Bundle::pem_block("CERTIFICATE", &case.root);
    if let Err(error) = roots.add_pem(pem.as_bytes(), RootClass::Manufacturer, &[]) {
        panic!("{}: {error}", case.name);
    }
    code(roots.verify(&case.ek.certificate, &case.offered, &case.ek.spki, case.now))
}

fn webpki(case: &Case) -> Result<(), String> {
    let root = CertificateDer::from(case.root.as_slice());
    let anchor = anchor_from_trusted_cert(&root).map_err(|error| format!("{error:?}"))?;
    let leaf = CertificateDer::from(case.ek.certificate.as_slice());
    let leaf = EndEntityCert::try_from(&leaf).map_err(|error| format!("{error:?}"))?;
    let offered = case.offered.iter();
    let offered: Vec<_> = offered
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let now = u64::try_from(case.now).unwrap();
    leaf.verify_for_usage(
        ALL_VERIFICATION_ALGS,
        &[anchor],
        &offered,
        UnixTime::since_unix_epoch(Duration::from_secs(now)),
        KeyUsage::required_if_present(EK_PURPOSE_DER),
        None,
        None,
    )
    .map(drop)
    .map_err(|error| format!("{error:?}"))
}

/// `None`, loudly, where the program is missing.
fn openssl(case: &Case) -> Option<Result<(), String>> {
    let folder = std::env::temp_dir().join(format!(
        "touchstone-oracle-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, blocks: &[Vec<u8>]| {
        let pem = blocks
            .iter()
            .map(|der| Bundle::pem_block("CERTIFICATE", der));
        let path = folder.join(name);
        std::fs::write(&path, pem.collect::<String>()).unwrap();
        path
    };
    let mut verify = Command::new("openssl");
    verify
        .args(["verify", "-check_ss_sig", "-no-CApath", "-no-CAstore"])
        .args(["-attime", &case.now.to_string()])
        .arg("-CAfile")
        .arg(write("root.pem", std::slice::from_ref(&case.root)));
    if !case.offered.is_empty() {
        verify
            .arg("-untrusted")
            .arg(write("offered.pem", &case.offered));
    }
    verify.arg(write(
        "leaf.pem",
        std::slice::from_ref(&case.ek.certificate),
    ));
    let output = verify.output();
    std::fs::remove_dir_all(&folder).unwrap();
    let output = match output {
        Ok(output) => output,
        Err(missing) => {
            eprintln!("SKIPPED: `openssl verify` as an oracle: {missing}");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some(match output.status.success() {
        true => Ok(()),
        false => Err(said),
    })
}

/// Compares the verdicts on one chain; returns what has no explanation, and how many oracles were asked.
fn compare(case: &Case) -> (Vec<String>, usize) {
    let ours = ours(case);
    let mut oracles = vec![("webpki", webpki(case))];
    oracles.extend(openssl(case).map(|verdict| ("openssl", verdict)));
    let unexplained = oracles.iter().filter_map(|(oracle, verdict)| {
        let explained = match (ours, verdict) {
            ("verified", Err(said)) => MORE_LENIENT.iter().any(|(chain, who, words, _)| {
                *chain == case.name && who == oracle && said.contains(words)
            }),
            ("verified", Ok(())) | (_, Err(_)) => true,
            (refusal, Ok(())) => STRICTER.iter().any(|(code, _)| *code == refusal),
        };
        (!explained).then(|| format!("{}: we say {ours}, {oracle} says {verdict:?}", case.name))
    });
    (unexplained.collect(), oracles.len())
}

/// Compares all; returns how many verdicts of oracles there were.
fn compare_all(cases: &[Case]) -> usize {
    let compared: Vec<_> = cases.iter().map(compare).collect();
    let unexplained: Vec<&String> = compared.iter().flat_map(|(lines, _)| lines).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    compared.iter().map(|(_, asked)| asked).sum()
}

fn cases() -> Vec<Case> {
    let mut cases = sound_chains();
    cases.extend(chains_of_odd_vendors());
    cases.extend(changed_leaves());
    cases.extend(changed_issuers());
    cases.extend(changed_keys());
    cases
}

fn sound_chains() -> Vec<Case> {
    let root = Ca::root("Root");
    let upper = root.issue(ca("Upper"));
    let lower = upper.issue(ca("Lower"));
    let (stranger, impostor) = (Ca::root("Stranger"), Ca::root("Root"));
    let (one, other) = (Ca::root("One"), Ca::root("Other"));
    let (one_by_other, other_by_one) = (other.certify(&one), one.certify(&other));
    let crossed = root.certify(&stranger);
    let at = |name, now| Case {
        now,
        ..case(name, &root, &[], root.endorse(leaf()))
    };
    vec![
        case("under the root", &root, &[], root.endorse(leaf())),
        case(
            "chain of three",
            &root,
            &[&upper, &lower],
            lower.endorse(leaf()),
        ),
        case("any order", &root, &[&lower, &upper], lower.endorse(leaf())),
        case(
            "missing intermediate",
            &root,
            &[&lower],
            lower.endorse(leaf()),
        ),
        case("unknown CA", &root, &[&stranger], stranger.endorse(leaf())),
        case("impostor", &root, &[], impostor.endorse(leaf())),
        case(
            "cross-signed",
            &root,
            &[&stranger, &crossed],
            stranger.endorse(leaf()),
        ),
        case(
            "loop",
            &root,
            &[&one_by_other, &other_by_one],
            one.endorse(leaf()),
        ),
        at("first second", NOT_BEFORE),
        at("too early", NOT_BEFORE - 1),
        at("last second", NOT_AFTER),
        at("too late", NOT_AFTER + 1),
    ]
}

fn chains_of_odd_vendors() -> Vec<Case> {
    let root = Ca::root("TPM Root");
    let policy = tlv(0x30, &tlv(0x30, &tlv(0x06, &[0x55, 0x1d, 0x20, 0x00])));
    let mut policies = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 32], policy);
    policies.set_criticality(true);
    let mut params = ca("Policies");
    params.custom_extensions.push(policies);
    let with_policies = root.issue(params);
    let respelt = root.under_the_name(printable("tpm  ROOT"));
    let retyped = root.under_the_name(printable("TPM Root"));
    let renamed = root.under_the_name("Somebody else".into());
    let mistaken = root.with_key_identifier(vec![1; 20]);
    let mut explicit = leaf();
    let content = tlv(0x30, &tlv(0x01, &[0x00]));
    let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 19], content);
    explicit.custom_extensions.push(extension);
    let mut padded = root.endorse(leaf());
    padded.certificate.extend_from_slice(&[0xff; 40]);
    vec![
        case(
            "critical policies",
            &root,
            &[&with_policies],
            with_policies.endorse(leaf()),
        ),
        case("name spelt otherwise", &root, &[], respelt.endorse(leaf())),
        case(
            "name of another string type",
            &root,
            &[],
            retyped.endorse(leaf()),
        ),
        case("name of somebody else", &root, &[], renamed.endorse(leaf())),
        case("wrong key identifier", &root, &[], mistaken.endorse(leaf())),
        case("cA FALSE written out", &root, &[], root.endorse(explicit)),
        case("padding", &root, &[], padded),
    ]
}

fn changed_leaves() -> Vec<Case> {
    let root = Ca::root("Root");
    let with = |name, change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = leaf();
        change(&mut params);
        case(name, &root, &[], root.endorse(params))
    };
    let odd = |critical: bool| {
        let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]);
        extension.set_criticality(critical);
        extension
    };
    vec![
        with("no purpose", &|leaf| leaf.extended_key_usages.clear()),
        with("any purpose", &|leaf| {
            leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Any];
        }),
        with("is a CA", &|leaf| {
            leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
        }),
        with("may sign", &|leaf| {
            leaf.key_usages = vec![KeyUsagePurpose::KeyCertSign]
        }),
        with("no TPM", &|leaf| leaf.custom_extensions.clear()),
        with("odd TPM", &|leaf| {
            leaf.custom_extensions = vec![alt_name(&[(1, "IBM"), (2, "m"), (3, "v")])];
        }),
        with("no subject", &|leaf| {
            leaf.distinguished_name = rcgen::DistinguishedName::new();
        }),
        with("odd extension", &|leaf| {
            leaf.custom_extensions.push(odd(false))
        }),
        with("odd critical extension", &|leaf| {
            leaf.custom_extensions.push(odd(true))
        }),
    ]
}

fn changed_issuers() -> Vec<Case> {
    let root = Ca::root("Root");
    let through = |name, change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = ca("Middle");
        change(&mut params);
        let middle = root.issue(params);
        case(name, &root, &[&middle], middle.endorse(leaf()))
    };
    let purpose = |purpose: rcgen::ExtendedKeyUsagePurpose| {
        move |ca: &mut rcgen::CertificateParams| ca.extended_key_usages = vec![purpose.clone()]
    };
    let limited = |name: &str, length| {
        let mut params = ca(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        params
    };
    let narrow = Ca::self_signed(limited("Root", 1), &rcgen::PKCS_ECDSA_P256_SHA256);
    let upper = narrow.issue(limited("Upper", 0));
    let lower = upper.issue(ca("Lower"));
    let mut deep = vec![root.issue(ca("CA 0"))];
    for number in 1..6 {
        let next = deep[number - 1].issue(ca(&format!("CA {number}")));
        deep.push(next);
    }
    let all: Vec<&Ca> = deep.iter().collect();
    vec![
        through("issuer is no CA", &|ca| ca.is_ca = IsCa::NoCa),
        through("issuer says that it is no CA", &|ca| {
            ca.is_ca = IsCa::ExplicitNoCa
        }),
        through("issuer may not sign", &|ca| {
            ca.key_usages = vec![KeyUsagePurpose::CrlSign]
        }),
        through("issuer without key usage", &|ca| ca.key_usages.clear()),
        through(
            "issuer for servers",
            &purpose(rcgen::ExtendedKeyUsagePurpose::ServerAuth),
        ),
        through("issuer for EKs", &purpose(ek_purpose())),
        through("issuer not valid yet", &|ca| {
            ca.not_before = rcgen::date_time_ymd(2030, 1, 1);
        }),
        through("issuer expired", &|ca| {
            ca.not_after = rcgen::date_time_ymd(2021, 1, 1)
        }),
        case(
            "path length kept",
            &narrow,
            &[&upper],
            upper.endorse(leaf()),
        ),
        case(
            "path length exceeded",
            &narrow,
            &[&upper, &lower],
            lower.endorse(leaf()),
        ),
        case("five above", &root, &all[..5], deep[4].endorse(leaf())),
        case("six above", &root, &all, deep[5].endorse(leaf())),
    ]
}

fn changed_keys() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, algorithm) in [
        ("P-256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("P-384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("P-521", &rcgen::PKCS_ECDSA_P521_SHA512),
        ("RSA, SHA-256", &rcgen::PKCS_RSA_SHA256),
        ("RSA, SHA-384", &rcgen::PKCS_RSA_SHA384),
        ("RSA, SHA-512", &rcgen::PKCS_RSA_SHA512),
    ] {
        let root = Ca::root_with("Root", algorithm);
        cases.push(case(name, &root, &[], root.endorse(leaf())));
    }
    let root = Ca::root("Root");
    for (name, length) in [
        ("RSA-512", 64),
        ("RSA-1024", 128),
        ("RSA-2048", 256),
        ("RSA-8200", 1025),
    ] {
        let (certificate, spki) = root.certify_rsa(length, leaf());
        cases.push(case(name, &root, &[], Ek { certificate, spki }));
    }
    let mut other = root.endorse(leaf());
    other.spki = root.endorse(leaf()).spki;
    cases.push(case("key of another TPM", &root, &[], other));
    let mut flipped = root.endorse(leaf());
    let last = flipped.certificate.len() - 1;
    flipped.certificate[last] ^= 1;
    cases.push(case("flipped bit", &root, &[], flipped));
    cases
}

#[test]
fn generated_chains_are_judged_as_the_oracles_do() {
    let cases = cases();
    let asked = compare_all(&cases);
    eprintln!("{} chains, {asked} verdicts of oracles", cases.len());
}

#[test]
fn machines_of_the_corpus_are_judged_as_the_oracles_do() {
    let Some(corpus) = folder("no real certificate was shown to the oracles") else {
        return;
    };
    let read = |path: &str| std::fs::read(corpus.join("vm").join(path)).unwrap();
    let der = |path: &str| {
        let pem = read(path);
        let mut blocks = Bundle::from_pem(&pem).unwrap().certificates;
        blocks.pop().unwrap().1
    };
    let root = der("localca/swtpm-localca-rootca-cert.pem");
    let issuer = der("localca/issuercert.pem");
    let mut cases = Vec::new();
    for machine in MACHINES {
        for now in [corpus::NOW, 1_700_000_000] {
            cases.push(Case {
                name: machine,
                root: root.clone(),
                offered: vec![issuer.clone()],
                ek: Ek {
                    certificate: read(&format!("{machine}/ekcert.der")),
                    spki: corpus::spki(&read(&format!("{machine}/ek.pub"))),
                },
                now,
            });
        }
    }
    compare_all(&cases);
}
