//! Real certificates, where `TOUCHSTONE_CORPUS` names the folder of measured machines.

use super::workshop::{NONE, RSA_ENCRYPTION, tlv};
use super::*;
use crate::corpus::{MACHINES, folder};

/// 2027-01-15: after the machines of the corpus were made.
pub(super) const NOW: i64 = 1_800_000_000;

/// The SubjectPublicKeyInfo of a TPM2B_PUBLIC with an RSA-2048 EK (TPM 2.0 Part 2 §12.2.5): the
/// modulus comes last, the exponent is the default.
pub(super) fn spki(ek_pub: &[u8]) -> Vec<u8> {
    let modulus = [&[0], &ek_pub[ek_pub.len() - 256..]].concat();
    let key = [tlv(0x02, &modulus), tlv(0x02, &[1, 0, 1])].concat();
    let algorithm = [tlv(0x06, &RSA_ENCRYPTION), tlv(0x05, &[])].concat();
    let bits = [&[0], &tlv(0x30, &key)[..]].concat();
    tlv(0x30, &[tlv(0x30, &algorithm), tlv(0x03, &bits)].concat())
}

#[test]
fn machines_of_the_corpus_chain_to_their_simulator_ca() {
    let Some(corpus) = folder("no real certificate was verified") else {
        return;
    };
    let read = |path: &str| std::fs::read(corpus.join("vm").join(path)).unwrap();
    let root = read("localca/swtpm-localca-rootca-cert.pem");
    let issuer = read("localca/issuercert.pem");
    let swtpm = "id:00001014".parse().unwrap();
    let mut roots = EndorsementRoots::new();
    let bundle = [root, issuer.clone()].concat();
    let imported = roots.add_pem(&bundle, RootClass::Simulator, &[swtpm]);
    assert_eq!(
        imported.unwrap(),
        Imported {
            roots: 1,
            intermediates: 1,
            lists: 0
        }
    );

    for machine in MACHINES {
        let certificate = read(&format!("{machine}/ekcert.der"));
        let spki = spki(&read(&format!("{machine}/ek.pub")));
        let verified = roots.verify(&certificate, &NONE, &spki, NOW).unwrap();
        assert_eq!(verified.class(), RootClass::Simulator);
        assert_eq!(verified.manufacturer(), swtpm);
        assert_eq!(verified.model(), "swtpm");
        assert_eq!(verified.valid_until(), None);
        assert!(matches!(
            roots.verify(&certificate, &NONE, &spki, 1_700_000_000),
            Err(EndorsementError::NotYetValid { .. })
        ));
    }

    let mut rootless = EndorsementRoots::new();
    rootless
        .add_pem(&issuer, RootClass::Simulator, &[])
        .unwrap();
    let certificate = read("base/ekcert.der");
    let spki = spki(&read("base/ek.pub"));
    assert!(matches!(
        rootless.verify(&certificate, &NONE, &spki, NOW),
        Err(EndorsementError::IssuerMissing { .. })
    ));
}

#[test]
fn every_manufacturers_certificate_imports() {
    let Some(corpus) = folder("no real certificate was verified") else {
        return;
    };
    let read = |path: &str| std::fs::read(corpus.join("ek-roots").join(path)).unwrap();
    let mut roots = EndorsementRoots::new();
    let mut import = |path| {
        roots
            .add_pem(&read(path), RootClass::Manufacturer, &[])
            .unwrap()
    };
    let of_roots = import("loicsikidi-MIRROR.tpm-ca-certificates.pem");
    let of_intermediates = import("loicsikidi-MIRROR.tpm-intermediate-ca-certificates.pem");
    // Three "roots" are signed by a CA above them, so they come in as intermediates.
    assert_eq!(
        of_roots,
        Imported {
            roots: 23,
            intermediates: 3,
            lists: 0
        }
    );
    assert_eq!(
        of_intermediates,
        Imported {
            roots: 0,
            intermediates: 143,
            lists: 0
        }
    );
}
