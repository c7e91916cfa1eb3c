//! Bytes that are not as they should be: taken or refused, and never a panic.

use proptest::prelude::*;
use rcgen::CustomExtension;

use super::workshop::*;
use super::*;

/// `cA FALSE`, which DER leaves out.
fn written_default() -> CustomExtension {
    basic_constraints(tlv(0x30, &tlv(0x01, &[0x00])))
}

fn basic_constraints(content: Vec<u8>) -> CustomExtension {
    CustomExtension::from_oid_content(&[2, 5, 29, 19], content)
}

/// A chain whose EK certificate has these extensions more.
fn with_extensions(
    extensions: &[CustomExtension],
) -> Result<VerifiedEndorsement, EndorsementError> {
    let (root, _) = fixture();
    let mut params = leaf();
    params.custom_extensions.extend_from_slice(extensions);
    verify(root, &[], &root.endorse(params))
}

#[test]
fn bytes_behind_the_certificate_are_no_part_of_it() {
    let (root, ek) = fixture();
    let padded = Ek {
        certificate: [&ek.certificate[..], &[0xff; 100]].concat(),
        spki: ek.spki.clone(),
    };
    let verified = verify(root, &[], &padded).unwrap();
    assert_eq!(
        verified.certificate_digest(),
        Sha256Digest::of(&ek.certificate)
    );
}

/// Some TPM vendors write it all the same.
#[test]
fn a_default_that_is_written_out_passes() {
    let refused = with_extensions(&[written_default()]).err();
    assert_eq!(refused.map_or("none", |error| error.code()), "none");
    // Not twice.
    assert_eq!(
        with_extensions(&[written_default(), written_default()]),
        Err(EndorsementError::Malformed {
            which: "the EK certificate".to_owned(),
            source: CertificateError::DuplicateExtension("2.5.29.19".to_owned())
        })
    );
}

#[test]
fn what_cannot_be_parsed_is_named() {
    let unreadable = with_extensions(&[basic_constraints(vec![0x30, 0x05])]);
    assert_eq!(code(unreadable), "ek-certificate-malformed");
    let (root, ek) = fixture();
    let roots = roots(&[root]);
    let huge = vec![0x30; 20_000];
    assert_eq!(
        code(roots.verify(&huge, &NONE, &ek.spki, NOW)),
        "ek-certificate-malformed"
    );
    let offered = roots.verify(&ek.certificate, &[b"junk"], &ek.spki, NOW);
    assert_eq!(
        offered.unwrap_err().to_string(),
        "intermediate 1 cannot be parsed"
    );
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
