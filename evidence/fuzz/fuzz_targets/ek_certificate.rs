//! The way from an EK certificate to a fixed root. The input is certificates, each after its length
//! in two bytes, the EK's first; they are tried as they are and, if only signatures fail, signed again.

#![no_main]

use std::sync::LazyLock;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{
    EndorsementError, EndorsementRoots, RootClass, VerifiedEndorsement,
};
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence_fuzz::NOW;
use touchstone_evidence_fuzz::authority::{EK, ROOT, sign_again};

touchstone_evidence_fuzz::target!(check);

static ROOTS: LazyLock<EndorsementRoots> = LazyLock::new(|| {
    let mut roots = EndorsementRoots::new();
    let swtpm = "id:00001014".parse().unwrap();
    roots
        .add_anchor(&ROOT, RootClass::Simulator, &[swtpm])
        .unwrap();
    roots
});

/// The EK of the recorded machine, RSA-2048.
static RECORDED_EK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let file = include_bytes!("../../../tpm-sim/profiles/shim_sb/ek.pub");
    Public::parse(&file[2..]).unwrap().subject_public_key_info()
});

const NO_CERTIFICATE: &[u8] = &[];

fn check(data: &[u8]) -> bool {
    let chain = split(data);
    if let Err(EndorsementError::BadSignature { .. }) = verify(&chain) {
        let chain: Vec<Vec<u8>> = chain.iter().filter_map(|one| sign_again(one)).collect();
        return verify(&chain.iter().map(Vec::as_slice).collect::<Vec<_>>()).is_ok();
    }
    verify(&chain).is_ok()
}

fn verify(chain: &[&[u8]]) -> Result<(), EndorsementError> {
    let (leaf, offered) = chain.split_first().unwrap_or((&NO_CERTIFICATE, &[]));
    let verified = match ROOTS.verify(leaf, offered, &EK, NOW) {
        Ok(verified) => verified,
        Err(EndorsementError::KeyMismatch) => {
            return ROOTS.verify(leaf, offered, &RECORDED_EK, NOW).map(|_| ());
        }
        Err(error) => return Err(error),
    };
    assert_eq!(verified.class(), RootClass::Simulator);
    assert_eq!(verified.ek_digest(), Sha256Digest::of(&EK));
    assert!(
        EndorsementRoots::new()
            .verify(leaf, offered, &EK, NOW)
            .is_err()
    );
    assert!(ROOTS.verify(leaf, offered, &RECORDED_EK, NOW).is_err());
    expires(&verified, leaf, offered);
    Ok(())
}

/// It holds up to the second that it names, by this path, and by none a second later unless another
/// path is valid for longer.
fn expires(verified: &VerifiedEndorsement, leaf: &[u8], offered: &[&[u8]]) {
    let Some(last) = verified.valid_until() else {
        return;
    };
    assert!(last >= NOW);
    if let Ok(later) = ROOTS.verify(leaf, offered, &EK, last.saturating_add(1)) {
        assert!(later.valid_until().is_none_or(|until| until > last));
    }
}

fn split(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut chain = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (certificate, behind) = behind.split_at(length);
        chain.push(certificate);
        rest = behind;
    }
    chain
}
