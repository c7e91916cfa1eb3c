//! A TPM's keys and one quote, made in software: as a TPM writes them, by a key that is at hand.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::pcr::PcrValues;
use touchstone_evidence::tpm::hash::Hash;
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::tpm::template::attribute;
use touchstone_evidence::wire::SignedAttest;

/// PolicyA: what the low-range EK templates demand.
const POLICY_A: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";

/// An AK on P-256.
pub(crate) struct SoftwareAk {
    key: EcdsaKeyPair,
    pub(crate) public: Public,
}

impl SoftwareAk {
    pub(crate) fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let bits = attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::USER_WITH_AUTH
            | attribute::NO_DA
            | attribute::RESTRICTED
            | attribute::SIGN;
        // No symmetric cipher, ECDSA with SHA-256, P-256, no derivation.
        let scheme = [0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10];
        let public = p256(bits, &[], &scheme, key.public_key().as_ref());
        Self { key, public }
    }

    /// A quote of these values of PCRs 0 to 15.
    pub(crate) fn quote(
        &self,
        key: &AttestationKey,
        qualifying: &Sha256Digest,
        values: &PcrValues,
    ) -> SignedAttest {
        let digest = values.digest(Hash::Sha256);
        let mut attest = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x18];
        sized(&mut attest, key.qualified_name().as_bytes());
        sized(&mut attest, qualifying.as_bytes());
        // Clock, counters, `safe` and firmware version.
        attest.extend([0; 8 + 4 + 4]);
        attest.push(1);
        attest.extend([0; 8]);
        attest.extend([0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0]);
        sized(&mut attest, &digest);

        let signed = self.key.sign(&SystemRandom::new(), &attest).unwrap();
        let mut signature = vec![0, 0x18, 0, 0x0b];
        for half in signed.as_ref().chunks(32) {
            sized(&mut signature, half);
        }
        SignedAttest {
            attest: Bytes(attest),
            signature: Bytes(signature),
        }
    }
}

/// An EK by the low-range template for P-256 (TCG EK Credential Profile 2.5, L-2).
pub(crate) fn ek_p256(point: &[u8]) -> Public {
    let bits = attribute::FIXED_TPM
        | attribute::FIXED_PARENT
        | attribute::SENSITIVE_DATA_ORIGIN
        | attribute::ADMIN_WITH_POLICY
        | attribute::RESTRICTED
        | attribute::DECRYPT;
    // AES-128-CFB, no scheme, P-256, no derivation.
    let scheme = [0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10];
    p256(bits, &hex::decode(POLICY_A).unwrap(), &scheme, point)
}

/// A `TPMT_PUBLIC`, from its Name algorithm (SHA-256) to an uncompressed point.
fn p256(attributes: u32, policy: &[u8], parameters: &[u8], point: &[u8]) -> Public {
    let mut public = vec![0, 0x23, 0, 0x0b];
    public.extend(attributes.to_be_bytes());
    sized(&mut public, policy);
    public.extend(parameters);
    let (_, coordinates) = point.split_first().unwrap();
    for coordinate in coordinates.chunks(32) {
        sized(&mut public, coordinate);
    }
    Public::parse(&public).unwrap()
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}
