//! Keys and signatures: which are strong enough, and whether the certified key is that of the TPM.

use super::workshop::*;
use super::*;

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
