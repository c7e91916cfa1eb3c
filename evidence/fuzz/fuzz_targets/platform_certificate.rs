//! Platform certificates under a fixed OEM. The input is tried as it is and, if only its signature fails, signed
//! again.

#![no_main]

use std::sync::LazyLock;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{
    EndorsementRoots, Oem, PlatformCertificate, PlatformCertificateError, RootClass,
    VerifiedEndorsement,
};
use touchstone_evidence_fuzz::NOW;
use touchstone_evidence_fuzz::authority::{EK, ROOT, ek_certificate, sign_again};

touchstone_evidence_fuzz::target!(check);

static LEAF: LazyLock<Vec<u8>> = LazyLock::new(|| ek_certificate("Root"));

static ENDORSEMENT: LazyLock<VerifiedEndorsement> = LazyLock::new(|| {
    let mut roots = EndorsementRoots::new();
    roots.add_anchor(&ROOT, RootClass::Cloud, &[]).unwrap();
    roots.verify(&LEAF, &[] as &[&[u8]], &EK, NOW).unwrap()
});

static OEMS: LazyLock<[Oem; 1]> = LazyLock::new(|| [Oem::parse(&ROOT).unwrap()]);

fn check(data: &[u8]) -> bool {
    match verify(data) {
        Err(PlatformCertificateError::Signature { .. }) => {
            sign_again(data).is_some_and(|again| verify(&again).is_ok())
        }
        verified => verified.is_ok(),
    }
}

fn verify(data: &[u8]) -> Result<(), PlatformCertificateError> {
    let parsed = PlatformCertificate::parse(data)?;
    let nobody = parsed.clone().verify(&[], &ENDORSEMENT, &LEAF, NOW);
    assert!(nobody.is_err(), "believed without an OEM");
    let verified = parsed.verify(&*OEMS, &ENDORSEMENT, &LEAF, NOW)?;
    assert_eq!(verified.oem(), Sha256Digest::of(&ROOT));
    assert_eq!(verified.certificate_digest(), Sha256Digest::of(data));
    let platform = verified.platform();
    for text in [&platform.manufacturer, &platform.model, &platform.serial] {
        let text = text.as_deref().unwrap_or_default();
        assert!(text.len() <= 128 && !text.contains(char::is_control));
    }
    Ok(())
}
