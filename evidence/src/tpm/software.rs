//! A TPM in software, for tests: it says what no real one would sign.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::attest::ClockInfo;
use super::hash::Hash;
use super::name::Name;
use super::public::Public;
use super::reader::write_sized;
use super::template::RELEASE_KEY_TEMPLATE;
use crate::digest::Sha256Digest;
use crate::identity::AttestationKey;
use crate::pcr::PcrValues;
use crate::quote::Discontinuity;
use crate::wire::SignedAttest;

/// A key pair with the public areas of an AK and of an EK above it.
pub(crate) struct SoftwareTpm {
    pair: EcdsaKeyPair,
    pub(crate) ak: AttestationKey,
}

/// How a statement is made one that does not go with the quote just before it, and why not.
pub(crate) type OtherRound = (fn(&mut Statement), Discontinuity);

/// One for each reason.
pub(crate) const OF_ANOTHER_ROUND: [OtherRound; 4] = [
    (
        |later| later.clock.reset_count += 1,
        Discontinuity::ResetCount,
    ),
    (
        |later| later.clock.restart_count += 1,
        Discontinuity::RestartCount,
    ),
    (|later| later.clock.clock -= 1, Discontinuity::Clock),
    (|later| later.firmware += 1, Discontinuity::Firmware),
];

/// The fields of a `TPMS_ATTEST`, right until a test changes them.
#[derive(Clone)]
pub(crate) struct Statement {
    pub(crate) magic: u32,
    pub(crate) signer: Vec<u8>,
    pub(crate) qualifying: Vec<u8>,
    pub(crate) clock: ClockInfo,
    pub(crate) firmware: u64,
    tag: u16,
    pub(crate) body: Vec<u8>,
}

impl SoftwareTpm {
    pub(crate) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ak = Public::parse(&attestation_key(pair.public_key().as_ref())).unwrap();
        let ek = Public::parse(&endorsement_key()).unwrap();
        let ak = AttestationKey::under(&ek, ak).unwrap();
        Self { pair, ak }
    }

    /// A quote of exactly `values`.
    pub(crate) fn quote(&self, qualifying: &Sha256Digest, values: &PcrValues) -> Statement {
        let bits = values.0.keys().fold(0u32, |bits, pcr| bits | 1 << pcr);
        let mut body = vec![0, 0, 0, 1, 0, 0x0b, 3];
        body.extend(&bits.to_le_bytes()[..3]);
        write_sized(&mut body, &values.digest(Hash::Sha256)).unwrap();
        self.statement(qualifying, 0x8018, body)
    }

    /// A certification of `contents` at `offset` of an NV index with this Name.
    pub(crate) fn certification(
        &self,
        qualifying: &Sha256Digest,
        name: &[u8],
        offset: u16,
        contents: &[u8],
    ) -> Statement {
        let mut body = Vec::new();
        write_sized(&mut body, name).unwrap();
        body.extend(offset.to_be_bytes());
        write_sized(&mut body, contents).unwrap();
        self.statement(qualifying, 0x8014, body)
    }

    /// A certification of the primary key with this Name under `hierarchy`.
    pub(crate) fn key_certification(
        &self,
        qualifying: &Sha256Digest,
        name: &Name,
        hierarchy: u32,
    ) -> Statement {
        let qualified_name = name.qualified_under_hierarchy(hierarchy);
        let mut body = Vec::new();
        write_sized(&mut body, name.as_bytes()).unwrap();
        write_sized(&mut body, qualified_name.as_bytes()).unwrap();
        self.statement(qualifying, 0x8017, body)
    }

    /// Some point of P-256, uncompressed.
    pub(crate) fn point(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// Any structure, by its tag and body.
    pub(crate) fn statement(
        &self,
        qualifying: &Sha256Digest,
        tag: u16,
        body: Vec<u8>,
    ) -> Statement {
        Statement {
            magic: 0xff54_4347,
            signer: self.ak.qualified_name().as_bytes().to_vec(),
            qualifying: qualifying.0.to_vec(),
            clock: ClockInfo {
                clock: 1000,
                reset_count: 5,
                restart_count: 2,
                safe: true,
            },
            firmware: 7,
            tag,
            body,
        }
    }

    pub(crate) fn sign(&self, statement: &Statement) -> SignedAttest {
        let mut attest = statement.magic.to_be_bytes().to_vec();
        attest.extend(statement.tag.to_be_bytes());
        write_sized(&mut attest, &statement.signer).unwrap();
        write_sized(&mut attest, &statement.qualifying).unwrap();
        attest.extend(statement.clock.clock.to_be_bytes());
        attest.extend(statement.clock.reset_count.to_be_bytes());
        attest.extend(statement.clock.restart_count.to_be_bytes());
        attest.push(u8::from(statement.clock.safe));
        attest.extend(statement.firmware.to_be_bytes());
        attest.extend(&statement.body);
        self.sign_bytes(attest)
    }

    /// What no restricted key signs: any bytes.
    pub(crate) fn sign_bytes(&self, attest: Vec<u8>) -> SignedAttest {
        let pair = self.pair.sign(&SystemRandom::new(), &attest).unwrap();
        let (r, s) = pair.as_ref().split_at(32);
        let mut signature = vec![0, 0x18, 0, 0x0b];
        write_sized(&mut signature, r).unwrap();
        write_sized(&mut signature, s).unwrap();
        SignedAttest {
            attest: attest.into(),
            signature: signature.into(),
        }
    }
}

/// `TPMT_PUBLIC` of an EK by the template; the policy begins at byte 10. Nobody holds its private part.
pub(crate) fn endorsement_key() -> Vec<u8> {
    let policy = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
    let mut public = vec![0, 0x01, 0, 0x0b, 0, 0x03, 0, 0xb2];
    write_sized(&mut public, &hex::decode(policy).unwrap()).unwrap();
    // AES-128-CFB, no scheme, 2048 bits, default exponent.
    public.extend([0, 6, 0, 128, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0]);
    write_sized(&mut public, &[0x81; 256]).unwrap();
    public
}

/// `TPMT_PUBLIC` of an AK by the template, with an uncompressed point.
pub(crate) fn attestation_key(point: &[u8]) -> Vec<u8> {
    let mut public = vec![0, 0x23, 0, 0x0b, 0, 0x05, 0x04, 0x72, 0, 0];
    // No symmetric algorithm, ECDSA with SHA-256, P-256, no KDF.
    public.extend([0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10]);
    write_sized(&mut public, &point[1..33]).unwrap();
    write_sized(&mut public, &point[33..]).unwrap();
    public
}

/// `TPMT_PUBLIC` of a release key by the template, with an uncompressed point.
pub(crate) fn release_key(point: &[u8]) -> Vec<u8> {
    let (head, _empty_point) = RELEASE_KEY_TEMPLATE.split_at(22);
    let mut public = head.to_vec();
    write_sized(&mut public, &point[1..33]).unwrap();
    write_sized(&mut public, &point[33..]).unwrap();
    public
}
