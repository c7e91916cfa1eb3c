//! Every TPM structure that is read, written again: the same bytes, no part of them, and no flipped bit of
//! what was signed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::attest::{Attest, Attested, ClockInfo};
use super::public::Public;
use super::reader::write_sized;
use super::signature::Signature;
use crate::boot_log::Bank;
use crate::pcr::{BankSelection, PcrSelection};

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    write_sized(out, bytes).unwrap();
}

fn selection() -> impl Strategy<Value = BankSelection> {
    let pcrs = proptest::sample::subsequence((0..24).collect::<Vec<u8>>(), 0..=24);
    (any::<u16>(), pcrs).prop_map(|(bank, pcrs)| BankSelection {
        bank: Bank::of(bank),
        pcrs: PcrSelection::try_from(pcrs).unwrap(),
    })
}

fn attested() -> impl Strategy<Value = Attested> {
    let name = || vec(any::<u8>(), 0..=66);
    let digest = || vec(any::<u8>(), 0..=64);
    prop_oneof![
        (vec(selection(), 0..=16), digest())
            .prop_map(|(selection, digest)| Attested::Quote { selection, digest }),
        (name(), any::<u16>(), vec(any::<u8>(), 0..=600)).prop_map(
            |(index_name, offset, contents)| Attested::Nv {
                index_name,
                offset,
                contents
            }
        ),
        (name(), name()).prop_map(|(name, qualified_name)| Attested::Certify {
            name,
            qualified_name
        }),
        (any::<bool>(), digest())
            .prop_map(|(exclusive, digest)| Attested::SessionAudit { exclusive, digest }),
    ]
}

prop_compose! {
    fn attest()(
        qualified_signer in vec(any::<u8>(), 0..=66),
        extra_data in vec(any::<u8>(), 0..=66),
        clock in any::<(u64, u32, u32, bool)>(),
        firmware_version in any::<u64>(),
        attested in attested(),
    ) -> Attest {
        let (clock, reset_count, restart_count, safe) = clock;
        Attest {
            tpm_generated: true,
            qualified_signer,
            extra_data,
            clock_info: ClockInfo { clock, reset_count, restart_count, safe },
            firmware_version,
            attested,
        }
    }
}

fn write_attest(attest: &Attest) -> Vec<u8> {
    let mut body = Vec::new();
    let tag: u16 = match &attest.attested {
        Attested::Quote { selection, digest } => {
            body.extend(u32::try_from(selection.len()).unwrap().to_be_bytes());
            for one in selection {
                let bits = one.pcrs.indices().fold(0u32, |bits, pcr| bits | 1 << pcr);
                body.extend(one.bank.id().to_be_bytes());
                body.push(3);
                body.extend(&bits.to_le_bytes()[..3]);
            }
            sized(&mut body, digest);
            0x8018
        }
        Attested::Nv {
            index_name,
            offset,
            contents,
        } => {
            sized(&mut body, index_name);
            body.extend(offset.to_be_bytes());
            sized(&mut body, contents);
            0x8014
        }
        Attested::Certify {
            name,
            qualified_name,
        } => {
            sized(&mut body, name);
            sized(&mut body, qualified_name);
            0x8017
        }
        Attested::SessionAudit { exclusive, digest } => {
            body.push(u8::from(*exclusive));
            sized(&mut body, digest);
            0x8016
        }
        Attested::Other(_) => panic!("not written"),
    };
    let mut bytes = 0xff54_4347u32.to_be_bytes().to_vec();
    bytes.extend(tag.to_be_bytes());
    sized(&mut bytes, &attest.qualified_signer);
    sized(&mut bytes, &attest.extra_data);
    bytes.extend(attest.clock_info.clock.to_be_bytes());
    bytes.extend(attest.clock_info.reset_count.to_be_bytes());
    bytes.extend(attest.clock_info.restart_count.to_be_bytes());
    bytes.push(u8::from(attest.clock_info.safe));
    bytes.extend(attest.firmware_version.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A public area and a signature of one kind of key, with random numbers; the top bit of a modulus is set.
fn key_and_signature() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let rsa = (
        prop_oneof![Just(256usize), Just(384)],
        prop_oneof![Just(0x14u16), Just(0x16)],
        prop_oneof![Just(0x0bu16), Just(0x0c)],
        vec(any::<u8>(), 384),
    )
        .prop_map(|(size, scheme, hash, numbers)| {
            let mut modulus = numbers[..size].to_vec();
            modulus[0] |= 0x80;
            let mut signature = [scheme, hash].map(u16::to_be_bytes).concat();
            sized(&mut signature, &numbers[..size]);
            (rsa_public(scheme, hash, &modulus), signature)
        });
    let ecc = (any::<bool>(), vec(any::<u8>(), 96)).prop_map(|(large, numbers)| {
        let (curve, hash, size) = match large {
            true => (4u16, 0x0cu16, 48),
            false => (3, 0x0b, 32),
        };
        let mut signature = [0x18u16, hash].map(u16::to_be_bytes).concat();
        sized(&mut signature, &numbers[..size]);
        sized(&mut signature, &numbers[size..2 * size]);
        (ecc_public(curve, hash, &numbers[..2 * size]), signature)
    });
    prop_oneof![rsa, ecc]
}

/// Type, SHA-256 Names, the AK's attributes, no policy, no symmetric cipher, scheme.
fn public(kind: u16, scheme: u16, hash: u16) -> Vec<u8> {
    [kind, 0x0b, 0x0005, 0x0472, 0, 0x10, scheme, hash]
        .map(u16::to_be_bytes)
        .concat()
}

fn rsa_public(scheme: u16, hash: u16, modulus: &[u8]) -> Vec<u8> {
    let mut bytes = public(1, scheme, hash);
    bytes.extend(u16::try_from(modulus.len() * 8).unwrap().to_be_bytes());
    bytes.extend([0; 4]);
    sized(&mut bytes, modulus);
    bytes
}

fn ecc_public(curve: u16, hash: u16, point: &[u8]) -> Vec<u8> {
    let mut bytes = public(0x23, 0x18, hash);
    bytes.extend([curve, 0x10].map(u16::to_be_bytes).concat());
    let (x, y) = point.split_at(point.len() / 2);
    sized(&mut bytes, x);
    sized(&mut bytes, y);
    bytes
}

proptest! {
    #[test]
    fn an_attestation_comes_back_and_no_part_of_it_does(attest in attest()) {
        let bytes = write_attest(&attest);
        prop_assert_eq!(Attest::parse(&bytes), Ok(attest));
        for length in 0..bytes.len() {
            prop_assert!(Attest::parse(&bytes[..length]).is_err(), "{length}");
        }
        prop_assert!(Attest::parse(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn keys_and_signatures_come_back_and_no_part_of_them_does(
        (public, signature) in key_and_signature()
    ) {
        let parsed = Public::parse(&public).unwrap();
        prop_assert_eq!(parsed.as_bytes(), &public[..]);
        prop_assert!(parsed.check_attestation_template().is_ok());
        prop_assert_eq!(Signature::parse(&signature).unwrap().scheme(), parsed.scheme().unwrap());
        for length in 0..public.len() {
            prop_assert!(Public::parse(&public[..length]).is_err(), "{length}");
        }
        for length in 0..signature.len() {
            prop_assert!(Signature::parse(&signature[..length]).is_err(), "{length}");
        }
        prop_assert!(Public::parse(&[&public[..], &[0]].concat()).is_err());
        prop_assert!(Signature::parse(&[&signature[..], &[0]].concat()).is_err());
    }
}

/// A quote as it is signed.
fn message() -> Vec<u8> {
    write_attest(&Attest {
        tpm_generated: true,
        qualified_signer: vec![7; 34],
        extra_data: vec![8; 32],
        clock_info: ClockInfo {
            clock: 1000,
            reset_count: 5,
            restart_count: 2,
            safe: true,
        },
        firmware_version: 7,
        attested: Attested::Quote {
            selection: vec![BankSelection {
                bank: Bank::Sha256,
                pcrs: PcrSelection::DEFAULT,
            }],
            digest: vec![9; 32],
        },
    })
}

fn no_flipped_bit_verifies(public: &[u8], signature: &[u8], message: &[u8]) {
    let key = Public::parse(public).unwrap();
    let whole = Signature::parse(signature).unwrap();
    whole.verify(&key, message).unwrap();
    for bit in 0..message.len() * 8 {
        let mut other = message.to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(whole.verify(&key, &other).is_err(), "message, bit {bit}");
    }
    for bit in 0..signature.len() * 8 {
        let mut other = signature.to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        let verified =
            Signature::parse(&other).is_ok_and(|other| other.verify(&key, message).is_ok());
        assert!(!verified, "signature, bit {bit}");
    }
}

#[test]
fn no_flipped_bit_verifies_on_any_curve() {
    for (algorithm, curve, hash) in [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, 3u16, 0x0bu16),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, 4, 0x0c),
    ] {
        let algorithm: &'static EcdsaSigningAlgorithm = algorithm;
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let message = message();
        let signed = pair.sign(&SystemRandom::new(), &message).unwrap();
        let (r, s) = signed.as_ref().split_at(signed.as_ref().len() / 2);
        let mut signature = [0x18, hash].map(u16::to_be_bytes).concat();
        sized(&mut signature, r);
        sized(&mut signature, s);
        let public = ecc_public(curve, hash, &pair.public_key().as_ref()[1..]);
        no_flipped_bit_verifies(&public, &signature, &message);
    }
}

#[test]
fn no_flipped_bit_verifies_with_any_rsa_scheme() {
    let schemes: [(&'static dyn RsaEncoding, u16); 2] = [
        (&signature::RSA_PKCS1_SHA256, 0x14),
        (&signature::RSA_PSS_SHA256, 0x16),
    ];
    for size in [KeySize::Rsa2048, KeySize::Rsa3072] {
        let pair = RsaKeyPair::generate(size).unwrap();
        // RSAPublicKey (RFC 8017 A.1.1): after the heads of SEQUENCE and INTEGER, and a zero.
        let modulus = &pair.public_key().as_ref()[9..][..pair.public_modulus_len()];
        for (encoding, scheme) in schemes {
            let message = message();
            let mut value = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &SystemRandom::new(), &message, &mut value)
                .unwrap();
            let mut signature = [scheme, 0x0b].map(u16::to_be_bytes).concat();
            sized(&mut signature, &value);
            let public = rsa_public(scheme, 0x0b, modulus);
            no_flipped_bit_verifies(&public, &signature, &message);
        }
    }
}
