//! Opened as a TPM would: by the release key's private part, in software (TPM 2.0 Part 1 §23.3).

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::*;
use crate::digest::Sha256Digest;
use crate::pcr::{PcrSelection, PcrValues};
use crate::quote::{Authentic, VerifiedQuote};
use crate::release_key::release_key_name;
use crate::tpm::reader::{Reader, TpmFormatError};
use crate::tpm::software::{SoftwareTpm, Statement, release_key};

const SECRET: [u8; 32] = [0x5a; 32];
const OBFUSCATION: [u8; 32] = [0xa5; 32];
/// One millisecond after the quote of the software TPM.
const END: u64 = 1001;

/// The private part of a release key, and what a verifier makes of the round that carries it.
struct Holder {
    private: PrivateKey,
    x: Vec<u8>,
    key: VerifiedReleaseKey,
}

impl Holder {
    fn new() -> Self {
        Self::quoting(&all_values())
    }

    fn quoting(values: &PcrValues) -> Self {
        let private = PrivateKey::generate(&agreement::ECDH_P256).unwrap();
        let point = private.compute_public_key().unwrap().as_ref().to_vec();
        let public = release_key(&point);
        let (tpm, id) = (SoftwareTpm::new(), Sha256Digest::of(b"round"));
        let authentic =
            |statement: Statement| Authentic::verify(&tpm.sign(&statement), &tpm.ak, &id).unwrap();
        let selection: Vec<u8> = values.0.keys().copied().collect();
        let selection = PcrSelection::try_from(selection).unwrap();
        let quote = authentic(tpm.quote(&id, values));
        let quote = VerifiedQuote::verify(&quote, selection, values.clone()).unwrap();
        let name = release_key_name(&public);
        let certified = authentic(tpm.key_certification(&id, &name, 0x4000_0007));
        Self {
            private,
            x: point[1..33].to_vec(),
            key: VerifiedReleaseKey::verify(&public, &certified, &quote).unwrap(),
        }
    }

    /// `TPMT_SENSITIVE` of the object, or `None` where the TPM refuses to import it.
    fn import(&self, sealed: &SealedRelease) -> Option<Vec<u8>> {
        let mut reader = Reader::new(&sealed.encrypted_seed);
        let (x, y) = (reader.sized(32, "x").ok()?, reader.sized(32, "y").ok()?);
        reader.finish().ok()?;
        let theirs = UnparsedPublicKey::new(&agreement::ECDH_P256, [&[4], x, y].concat());
        let seed = agree(&self.private, theirs, (), |shared| {
            let parts = [&[0, 0, 0, 1], shared, b"DUPLICATE\0", x, &self.x];
            Ok(Sha256Digest::of(&parts.concat()).0)
        });
        let seed = seed.ok()?;
        let name = [&[0, 0x0b], &Sha256Digest::of(&sealed.public).0[..]].concat();

        let mut reader = Reader::new(&sealed.duplicate);
        let integrity = reader.sized(32, "HMAC").ok()?;
        let mut encrypted = sealed.duplicate[2 + integrity.len()..].to_vec();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &kdfa(&seed, b"INTEGRITY\0", &[], 256));
        let covered = [encrypted.as_slice(), &name].concat();
        hmac::verify(&key, &covered, integrity).ok()?;
        let key = kdfa(&seed, b"STORAGE\0", &name, 128);
        let key = UnboundCipherKey::new(&AES_128, &key[..16]).unwrap();
        DecryptingKey::cfb128(key)
            .unwrap()
            .decrypt(
                &mut encrypted,
                DecryptionContext::Iv128(FixedLength::from([0; 16])),
            )
            .unwrap();
        let (size, sensitive) = encrypted.split_at(2);
        assert_eq!(size, [0, 72]);
        Some(sensitive.to_vec())
    }
}

fn kdfa(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let parts = [&[0, 0, 0, 1], label, context, &bits.to_be_bytes()];
    hmac::sign(&key, &parts.concat()).as_ref().to_vec()
}

fn all_values() -> PcrValues {
    PcrValues(
        PcrSelection::DEFAULT
            .indices()
            .map(|pcr| (pcr, Sha256Digest([pcr; 32])))
            .collect(),
    )
}

fn secrets() -> SealSecrets {
    SealSecrets {
        secret: SECRET.into(),
        obfuscation: OBFUSCATION.into(),
    }
}

fn policy() -> ReleasePolicy {
    ReleasePolicy::new(&all_values(), (5, 2), END).unwrap()
}

#[test]
fn a_sealed_release_holds_the_secret_for_the_release_key_alone() {
    let (holder, other) = (Holder::new(), Holder::new());
    let sealed = seal(&holder.key, END, &secrets()).unwrap();
    let sensitive = holder.import(&sealed).unwrap();
    let expected = [&[0, 8, 0, 0, 0, 32][..], &OBFUSCATION, &[0, 32], &SECRET].concat();
    assert_eq!(sensitive, expected);
    assert_eq!(other.import(&sealed), None);
    // In clear it stands nowhere, and a second one shares nothing with it but the public area.
    let again = seal(&holder.key, END, &secrets()).unwrap();
    assert_eq!(again.public, sealed.public);
    assert_ne!(again.duplicate, sealed.duplicate);
    assert_ne!(again.encrypted_seed, sealed.encrypted_seed);
    for part in [
        &sealed.public.0,
        &sealed.duplicate.0,
        &sealed.encrypted_seed.0,
    ] {
        assert!(!part.windows(32).any(|bytes| bytes == SECRET));
    }
}

#[test]
fn no_changed_byte_of_a_sealed_release_is_imported() {
    let holder = Holder::new();
    let sealed = seal(&holder.key, END, &secrets()).unwrap();
    for at in 0..sealed.public.len() {
        let mut lie = sealed.clone();
        lie.public.0[at] ^= 1;
        assert_eq!(holder.import(&lie), None, "public area, byte {at}");
    }
    for at in 0..sealed.duplicate.len() {
        let mut lie = sealed.clone();
        lie.duplicate.0[at] ^= 1;
        assert_eq!(holder.import(&lie), None, "duplicate, byte {at}");
    }
    for at in 0..sealed.encrypted_seed.len() {
        let mut lie = sealed.clone();
        lie.encrypted_seed.0[at] ^= 1;
        assert_eq!(holder.import(&lie), None, "seed, byte {at}");
    }
}

#[test]
fn the_public_area_is_checked_whole() {
    let sealed = seal(&Holder::new().key, END, &secrets()).unwrap();
    let public = &sealed.public.0;
    assert_eq!(check_object(public, &policy()), Ok(()));
    let unique = Sha256Digest::of(&[OBFUSCATION, SECRET].concat()).0;
    assert_eq!(public[46..], unique);
    let told = |at: usize, with: &[u8]| {
        let mut lie = public.clone();
        lie[at..at + with.len()].copy_from_slice(with);
        check_object(&lie, &policy())
    };
    // userWithAuth, fixedTPM, and each other bit.
    for bit in 0..32 {
        let observed = DATA_OBJECT_ATTRIBUTES ^ (1 << bit);
        let refused = Err(NotTheObject::Attributes { observed });
        assert_eq!(told(4, &observed.to_be_bytes()), refused, "bit {bit}");
    }
    for (at, byte) in public.iter().enumerate().skip(10).take(32) {
        assert_eq!(told(at, &[byte ^ 1]), Err(NotTheObject::Policy));
    }
    let malformed = |told| {
        matches!(
            told,
            Err(NotTheObject::Malformed(TpmFormatError::Unknown(_)))
        )
    };
    // A symmetric key, a Name by SHA-384, an HMAC key.
    assert!(malformed(told(0, &[0, 0x25])));
    assert!(malformed(told(2, &[0, 0x0c])));
    assert!(malformed(told(42, &[0, 5])));
    for length in 0..public.len() {
        let cut = check_object(&public[..length], &policy());
        assert!(matches!(cut, Err(NotTheObject::Malformed(_))), "{length}");
    }
    let longer = [public.as_slice(), &[0]].concat();
    assert!(check_object(&longer, &policy()).is_err());
}

#[test]
fn every_part_of_the_state_is_in_the_policy() {
    let mut digests = vec![policy().digest()];
    for pcr in RELEASE_PCRS {
        let mut values = all_values();
        values.0.insert(pcr, Sha256Digest([0xff; 32]));
        digests.push(ReleasePolicy::new(&values, (5, 2), END).unwrap().digest());
    }
    for (counters, end) in [
        ((6, 2), END),
        ((5, 3), END),
        ((2, 5), END),
        ((5, 2), END + 1),
    ] {
        digests.push(
            ReleasePolicy::new(&all_values(), counters, end)
                .unwrap()
                .digest(),
        );
    }
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);

    // PCR 10 moves with each exec, and 15 is none of the boot's: neither counts.
    let mut values = all_values();
    values.0.insert(10, Sha256Digest::ZERO);
    values.0.remove(&15);
    assert_eq!(ReleasePolicy::new(&values, (5, 2), END), Ok(policy()));
}

#[test]
fn the_policy_is_what_others_compute_it_to_be() {
    // By hashes alone, in another language: all PCRs zero, resetCount 1, restartCount 0, before 1000 ms.
    let zero = |pcr| (pcr, Sha256Digest::ZERO);
    let values = PcrValues(PcrSelection::DEFAULT.indices().map(zero).collect());
    let policy = ReleasePolicy::new(&values, (1, 0), 1000).unwrap();
    let expected = "4652c5723815d5e54dafe0b5cdabd669cfd07e58635aaff9ccd87e9d3610520d";
    assert_eq!(policy.digest().to_string(), expected);
}

#[test]
fn nothing_is_sealed_to_a_state_that_was_not_quoted_or_a_lease_that_is_over() {
    for pcr in RELEASE_PCRS {
        let mut values = all_values();
        values.0.remove(&pcr);
        let told = seal(&Holder::quoting(&values).key, END, &secrets());
        assert_eq!(told, Err(SealError::Policy(PcrNotQuoted(pcr))));
    }
    for end in [0, END - 1] {
        let told = seal(&Holder::new().key, end, &secrets());
        assert_eq!(told, Err(SealError::LeaseOver));
    }
}
