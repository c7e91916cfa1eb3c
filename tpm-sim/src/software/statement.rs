//! `TPMS_ATTEST` and `TPMT_SIGNATURE` as a TPM marshals them (TPM 2.0 Part 2 §10.12, §11.3.4).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::EcdsaKeyPair;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::nv::{LOCATION_ATTRIBUTES, LOCATION_INDEX};
use touchstone_evidence::tpm::attest::ClockInfo;
use touchstone_evidence::tpm::hash::Hash;
use touchstone_evidence::tpm::name::Name;
use touchstone_evidence::wire::SignedAttest;

use super::{Error, Result};

/// `TPM_GENERATED_VALUE` (Part 2 §6.2).
const GENERATED: u32 = 0xff54_4347;
/// Structure tags (Part 2 §6.9).
const ST_ATTEST_NV: u16 = 0x8014;
const ST_ATTEST_SESSION_AUDIT: u16 = 0x8016;
const ST_ATTEST_CERTIFY: u16 = 0x8017;
const ST_ATTEST_QUOTE: u16 = 0x8018;
/// `TPM_RH_NULL` (Part 2 §7.4).
const RH_NULL: u32 = 0x4000_0007;
/// `TPM_ALG_SHA256` and `TPM_ALG_ECDSA` (Part 2 §6.3).
const ALG_SHA256: u16 = 0x000b;
const ALG_ECDSA: u16 = 0x0018;
/// `TPM_CC_GetCapability`, `TPM_CAP_PCRS` and the number of banks that the agent asks for (Part 2 §6.5.2, §6.12).
const CC_GET_CAPABILITY: u32 = 0x0000_017a;
const CAP_PCRS: u32 = 5;
const BANKS_ASKED: u32 = 16;

/// The body of a statement, under its tag.
pub(super) struct Attested {
    tag: u16,
    body: Vec<u8>,
}

/// `TPMS_QUOTE_INFO` of PCRs of the SHA-256 bank.
pub(super) fn quote(pcrs: &[u8], digest: &[u8]) -> Attested {
    let mut body = selection(ALG_SHA256, pcrs);
    body.extend(sized(digest));
    Attested {
        tag: ST_ATTEST_QUOTE,
        body,
    }
}

/// `TPMS_CAPABILITY_DATA` of a TPM whose only bank is `bank`, with all of its 24 PCRs.
pub(super) fn capability(bank: u16) -> Vec<u8> {
    let all: Vec<u8> = (0..24).collect();
    [&CAP_PCRS.to_be_bytes()[..], &selection(bank, &all)].concat()
}

/// `TPMS_SESSION_AUDIT_INFO` of a session that carried the question for the banks and `capability` as its
/// answer: zeros extended by cpHash and rpHash (Part 1 §34.3, §18.7, §18.8).
pub(super) fn audit(capability: &[u8]) -> Attested {
    let hash = Hash::Sha256;
    let code = CC_GET_CAPABILITY.to_be_bytes();
    let words = [CAP_PCRS, 0, BANKS_ASKED].map(u32::to_be_bytes).concat();
    let command = hash.digest(&[&code, &words]);
    // TPM_RC_SUCCESS, the command, moreData = NO.
    let answer = hash.digest(&[&[0; 4], &code, &[0], capability]);
    let digest = hash.digest(&[&[0; 32], &command, &answer]);
    Attested {
        tag: ST_ATTEST_SESSION_AUDIT,
        body: [&[1], &sized(&digest)[..]].concat(),
    }
}

/// `TPMS_NV_CERTIFY_INFO` of the whole location index.
pub(super) fn location(contents: &[u8]) -> Attested {
    // TPMS_NV_PUBLIC (Part 2 §13.5).
    let mut public = LOCATION_INDEX.to_be_bytes().to_vec();
    public.extend(ALG_SHA256.to_be_bytes());
    public.extend(LOCATION_ATTRIBUTES.to_be_bytes());
    public.extend(sized(&[]));
    public.extend(length(contents));
    let name = Name::of(Hash::Sha256, &public);
    let offset = [0, 0];
    Attested {
        tag: ST_ATTEST_NV,
        body: [&sized(name.as_bytes())[..], &offset, &sized(contents)].concat(),
    }
}

/// `TPMS_CERTIFY_INFO` of the primary of the NULL hierarchy with this Name.
pub(super) fn release_key(name: &Name) -> Attested {
    let qualified_name = name.qualified_under_hierarchy(RH_NULL);
    Attested {
        tag: ST_ATTEST_CERTIFY,
        body: [sized(name.as_bytes()), sized(qualified_name.as_bytes())].concat(),
    }
}

/// The whole `TPMS_ATTEST`.
pub(super) fn marshal(
    signer: &Name,
    qualifying: &Sha256Digest,
    clock: ClockInfo,
    firmware: u64,
    attested: &Attested,
) -> Vec<u8> {
    let mut attest = GENERATED.to_be_bytes().to_vec();
    attest.extend(attested.tag.to_be_bytes());
    attest.extend(sized(signer.as_bytes()));
    attest.extend(sized(&qualifying.0));
    attest.extend(clock.clock.to_be_bytes());
    attest.extend(clock.reset_count.to_be_bytes());
    attest.extend(clock.restart_count.to_be_bytes());
    attest.push(u8::from(clock.safe));
    attest.extend(firmware.to_be_bytes());
    attest.extend(&attested.body);
    attest
}

/// Signs with ECDSA and SHA-256.
pub(super) fn sign(key: &EcdsaKeyPair, attest: Vec<u8>) -> Result<SignedAttest> {
    let fixed = key.sign(&SystemRandom::new(), &attest);
    let fixed = fixed.map_err(|_| Error::Crypto("signature"))?;
    let (r, s) = fixed.as_ref().split_at(fixed.as_ref().len() / 2);
    let algorithms = [ALG_ECDSA, ALG_SHA256].map(u16::to_be_bytes).concat();
    let signature = [algorithms, sized(r), sized(s)].concat();
    Ok(SignedAttest {
        attest: attest.into(),
        signature: signature.into(),
    })
}

/// A `TPM2B`: its length, and the bytes.
pub(super) fn sized(bytes: &[u8]) -> Vec<u8> {
    [&length(bytes)[..], bytes].concat()
}

/// No structure here comes near 64 KiB; one that did would not be signed by anything that reads it.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// `TPML_PCR_SELECTION` (Part 2 §10.9.7) of one bank.
fn selection(bank: u16, pcrs: &[u8]) -> Vec<u8> {
    let bits = pcrs.iter().fold(0_u32, |bits, pcr| bits | 1 << pcr);
    let [a, b, c, _] = bits.to_le_bytes();
    let [high, low] = bank.to_be_bytes();
    vec![0, 0, 0, 1, high, low, 3, a, b, c]
}
