//! What a round signs, looked at with libraries that know nothing of ours.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use touchstone_agent::tpm::{AkBlob, AttestRequest, Attestation, Signed};
use tss_esapi::structures::{Attest, AttestInfo, EccPoint, Public, Signature};
use tss_esapi::traits::UnMarshall as _;

/// All of PCRs 0 to 15, and nothing else.
pub(super) fn request(qualifying: u8) -> AttestRequest {
    AttestRequest {
        qualifying: [qualifying; 32],
        pcrs: (0..16).collect(),
        location: None,
        release_key: None,
    }
}

pub(super) fn parsed(signed: &Signed) -> Attest {
    Attest::unmarshall(&signed.attest).unwrap()
}

/// Checks the AK's signature over the very bytes, with a library that knows no TPM.
pub(super) fn assert_signed_by(ak: &AkBlob, signed: &Signed) {
    let Public::Ecc { unique, .. } = Public::unmarshall(&ak.public).unwrap() else {
        panic!("the AK is not elliptic");
    };
    let Signature::EcDsa(signature) = Signature::unmarshall(&signed.signature).unwrap() else {
        panic!("not an ECDSA signature");
    };
    let raw = [
        padded(signature.signature_r().value()),
        padded(signature.signature_s().value()),
    ];
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(&unique))
        .verify(&signed.attest, raw.as_flattened())
        .unwrap();
}

fn point(point: &EccPoint) -> Vec<u8> {
    let (x, y) = (padded(point.x().value()), padded(point.y().value()));
    [&[4], x.as_slice(), y.as_slice()].concat()
}

fn padded(number: &[u8]) -> [u8; 32] {
    let mut padded = [0; 32];
    padded[32 - number.len()..].copy_from_slice(number);
    padded
}

/// Checks that the quote covers exactly the values beside it.
pub(super) fn assert_values_are_quoted(round: &Attestation) {
    let quote = parsed(&round.quote);
    let AttestInfo::Quote { info } = quote.attested() else {
        panic!("not a quote: {quote:?}");
    };
    let digest = Sha256::digest(round.pcr_values.as_flattened());
    assert_eq!(info.pcr_digest().value(), digest.as_slice());
}
