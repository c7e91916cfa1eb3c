//! `TPMT_PUBLIC` of the keys (TPM 2.0 Part 2 §12.2.4), by the templates that evidence checks.

use touchstone_evidence::tpm::template::{EK_LOW, RELEASE_KEY_TEMPLATE, attribute};

use super::statement::sized;

/// `TPM_ALG_ID`s (Part 2 §6.3).
const ALG_AES: u16 = 0x0006;
const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;
/// `TPM_ECC_NIST_P256` (Part 2 §6.4).
const P256: u16 = 0x0003;

/// PolicyA for SHA-256: `PolicySecret(TPM_RH_ENDORSEMENT)` (EK Credential Profile 2.5, annex B).
const POLICY_A: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// An AK as the agent makes it: it signs only what its TPM made, and cannot leave it.
const AK: u32 = attribute::FIXED_TPM
    | attribute::FIXED_PARENT
    | attribute::SENSITIVE_DATA_ORIGIN
    | attribute::USER_WITH_AUTH
    | attribute::NO_DA
    | attribute::RESTRICTED
    | attribute::SIGN;

/// Template L-2 (EK Credential Profile 2.5): AES-128-CFB, no scheme. `point`: uncompressed.
pub(super) fn endorsement_key(point: &[u8]) -> Vec<u8> {
    let algorithms = [ALG_AES, 128, ALG_CFB, ALG_NULL, P256, ALG_NULL];
    ecc(EK_LOW, &POLICY_A, &algorithms, point)
}

/// ECDSA with SHA-256, no policy. `point`: uncompressed.
pub(super) fn attestation_key(point: &[u8]) -> Vec<u8> {
    let algorithms = [ALG_NULL, ALG_ECDSA, ALG_SHA256, P256, ALG_NULL];
    ecc(AK, &[], &algorithms, point)
}

/// A release key by its template. `point`: uncompressed.
pub(super) fn release_key(point: &[u8]) -> Vec<u8> {
    // The template ends with an empty point: two lengths.
    let (head, _empty) = RELEASE_KEY_TEMPLATE.split_at(RELEASE_KEY_TEMPLATE.len() - 4);
    let mut public = head.to_vec();
    append_point(&mut public, point);
    public
}

/// `algorithms`: symmetric algorithm, scheme, curve and KDF as they are marshalled.
fn ecc(attributes: u32, policy: &[u8], algorithms: &[u16], point: &[u8]) -> Vec<u8> {
    let mut public = Vec::with_capacity(128);
    public.extend(ALG_ECC.to_be_bytes());
    public.extend(ALG_SHA256.to_be_bytes());
    public.extend(attributes.to_be_bytes());
    public.extend(sized(policy));
    public.extend(algorithms.iter().flat_map(|word| word.to_be_bytes()));
    append_point(&mut public, point);
    public
}

/// After the octet that says `uncompressed` (SEC 1 §2.3.3) come the coordinates.
fn append_point(public: &mut Vec<u8>, point: &[u8]) {
    let coordinates = point.get(1..).unwrap_or_default();
    for coordinate in coordinates.chunks(32) {
        public.extend(sized(coordinate));
    }
}
