//! Bytes that are not as they should be: taken or refused, and never a panic.

use proptest::prelude::*;

use super::workshop::*;
use super::*;

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
