//! What a software TPM says, before the verifier of real ones.

#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeMap;

use touchstone_evidence::banks::{ActiveBanks, ReplayedBanks};
use touchstone_evidence::boot_log::{BOOT_PCRS, Bank, BootLog, ReplayedLog};
use touchstone_evidence::credential::{CredentialSecrets, make_credential};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{EndorsementRoots, RootClass};
use touchstone_evidence::nv::CarriedTag;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence::quote::{Authentic, NotAuthentic, QuoteError, VerifiedQuote};
use touchstone_evidence::release_key::VerifiedReleaseKey;
use touchstone_evidence::sealed_release::{ReleasePolicy, SealSecrets, seal};
use touchstone_evidence::tpm::public::Scheme;
use touchstone_evidence::wire::{EnrolmentChallenge, SignedAttest};
use zeroize::Zeroizing;

use super::*;
use crate::profile::Profile;

const SECRET: [u8; 32] = [0x5a; 32];
/// What comes beside a certificate: nothing.
const NONE: [&[u8]; 0] = [];
/// 2026-07-01.
const NOW: i64 = 1_782_864_000;

fn round() -> Sha256Digest {
    Sha256Digest::of(b"round")
}

fn challenge(tpm: &SoftwareTpm) -> EnrolmentChallenge {
    let secrets = CredentialSecrets {
        secret: Zeroizing::new(SECRET),
        seed: Zeroizing::new([0xa5; 32]),
    };
    let name = tpm.attestation_key().public().name();
    let credential = make_credential(tpm.ek_public(), &name, &secrets).unwrap();
    EnrolmentChallenge {
        enrolment: vec![0; 16].into(),
        host: "load-1".parse().unwrap(),
        credential: credential.blob.into(),
        encrypted_seed: credential.encrypted_seed.into(),
    }
}

/// The PCRs that the recorded log leads to, 0 to 15.
fn values() -> PcrValues {
    let log = BootLog::parse(Profile::named("shim_sb").unwrap().boot_log).unwrap();
    let replayed = log.replay(Bank::Sha256).unwrap();
    let value = |pcr: u8| replayed.get(&pcr).and_then(|value| value.sha256());
    let all: BTreeMap<u8, Sha256Digest> = (0..16)
        .map(|pcr| (pcr, value(pcr).unwrap_or_default()))
        .collect();
    PcrValues(all)
}

fn authentic(tpm: &SoftwareTpm, signed: &SignedAttest) -> Authentic {
    Authentic::verify(signed, tpm.attestation_key(), &round()).unwrap()
}

fn quoted(tpm: &SoftwareTpm) -> VerifiedQuote {
    let quote = tpm.quote(&round(), 1000, &values()).unwrap();
    VerifiedQuote::verify(&authentic(tpm, &quote), PcrSelection::DEFAULT, values()).unwrap()
}

#[test]
fn its_keys_follow_the_templates() {
    let tpm = SoftwareTpm::generate().unwrap();
    tpm.ek_public().check_endorsement_template().unwrap();
    let scheme = tpm.attestation_key().public().check_attestation_template();
    assert_eq!(scheme, Ok(Scheme::Ecdsa(Hash::Sha256)));
}

#[test]
fn a_credential_opens_only_where_both_keys_are_and_unaltered() {
    let (tpm, other) = (
        SoftwareTpm::generate().unwrap(),
        SoftwareTpm::generate().unwrap(),
    );
    let right = challenge(&tpm);
    assert_eq!(tpm.activate(&right).unwrap()[..], SECRET);
    assert!(matches!(other.activate(&right), Err(Error::Credential)));
    for at in 0..right.credential.len() {
        let mut blob = right.credential.to_vec();
        blob[at] ^= 1;
        let altered = EnrolmentChallenge {
            credential: blob.into(),
            ..right.clone()
        };
        assert!(tpm.activate(&altered).is_err(), "byte {at}");
    }
    for length in 0..right.encrypted_seed.len() {
        let altered = EnrolmentChallenge {
            encrypted_seed: right.encrypted_seed[..length].to_vec().into(),
            ..right.clone()
        };
        assert!(
            tpm.activate(&altered).is_err(),
            "{length} bytes of the point"
        );
    }
}

#[test]
fn a_quote_proves_these_values_for_this_round_by_this_key() {
    let tpm = SoftwareTpm::generate().unwrap();
    let quote = tpm.quote(&round(), 1000, &values()).unwrap();
    let statement = authentic(&tpm, &quote);
    assert_eq!(
        (statement.clock().clock, statement.clock().reset_count),
        (1000, 1)
    );
    assert_eq!(quoted(&tpm).values(), &values());

    let mut lie = values();
    lie.0.insert(4, Sha256Digest::ZERO);
    let verified = VerifiedQuote::verify(&statement, PcrSelection::DEFAULT, lie);
    assert_eq!(verified.unwrap_err(), QuoteError::Digest);
    let other = SoftwareTpm::generate().unwrap();
    let by_other = Authentic::verify(&quote, other.attestation_key(), &round());
    assert_eq!(by_other.unwrap_err(), NotAuthentic::BadSignature);
    let of_other = Authentic::verify(&quote, tpm.attestation_key(), &Sha256Digest::ZERO);
    assert_eq!(of_other.unwrap_err(), NotAuthentic::OtherRound);
}

#[test]
fn the_banks_are_audited_and_the_log_leads_to_them() {
    let tpm = SoftwareTpm::generate().unwrap();
    let quote = quoted(&tpm);
    let log = || BootLog::parse(Profile::named("shim_sb").unwrap().boot_log).unwrap();
    ReplayedLog::verify(log(), &quote).unwrap();
    let banks = tpm.banks(&round(), 1001, &values()).unwrap();
    let audit = authentic(&tpm, &banks.audit);
    let active = ActiveBanks::verify(&audit, &banks.capability, &quote).unwrap();
    assert_eq!(active.banks(), [Bank::Sha256]);
    let statement = authentic(&tpm, &banks.quote);
    let proven = ReplayedBanks::verify(&active, &statement, &banks.values, &log(), &quote);
    assert_eq!(proven.unwrap().banks(), [Bank::Sha256]);
    assert_eq!(banks.values.len(), 32 * BOOT_PCRS.len());
}

#[test]
fn a_location_is_certified_whole_and_not_before_the_quote_or_in_another_boot() {
    let mut tpm = SoftwareTpm::generate().unwrap();
    let quote = quoted(&tpm);
    let certify = |tpm: &SoftwareTpm, clock| {
        let signed = tpm.certify_location(&round(), clock, b"a tag").unwrap();
        CarriedTag::verify(&authentic(tpm, &signed), &quote)
    };
    assert_eq!(certify(&tpm, 1000).unwrap().contents(), b"a tag");
    assert!(certify(&tpm, 999).is_err());
    tpm.reset().unwrap();
    assert!(certify(&tpm, 1001).is_err());
}

#[test]
fn a_release_opens_for_the_release_key_of_this_boot_alone() {
    let mut tpm = SoftwareTpm::generate().unwrap();
    let quote = quoted(&tpm);
    let sent = tpm.certify_release_key(&round(), 1001).unwrap();
    let statement = authentic(&tpm, &sent.certification);
    let key = VerifiedReleaseKey::verify(&sent.public, &statement, &quote).unwrap();
    let secrets = SealSecrets {
        secret: SECRET.into(),
        obfuscation: [0xa5; 32].into(),
    };
    let sealed = seal(&key, 2000, &secrets).unwrap();
    let policy = |end| ReleasePolicy::new(&values(), (1, 0), end).unwrap();
    assert_eq!(*tpm.open_release(&sealed, &policy(2000)).unwrap(), SECRET);
    let refused = |opened| matches!(opened, Err(Error::Release));
    assert!(refused(tpm.open_release(&sealed, &policy(2001))));
    let other = SoftwareTpm::generate().unwrap();
    assert!(refused(other.open_release(&sealed, &policy(2000))));
    tpm.reset().unwrap();
    assert!(refused(tpm.open_release(&sealed, &policy(2000))));
}

#[test]
fn its_maker_vouches_for_it_and_for_no_other() {
    let (maker, stranger) = (
        Maker::create("load test").unwrap(),
        Maker::create("load test").unwrap(),
    );
    let tpm = SoftwareTpm::generate().unwrap();
    let spki = tpm.ek_public().subject_public_key_info();
    let certificate = maker.certify(tpm.ek_public(), 7).unwrap();
    let mut roots = EndorsementRoots::new();
    roots
        .add_pem(maker.pem().as_bytes(), RootClass::Simulator, &[])
        .unwrap();
    let verified = roots.verify(&certificate, &NONE, &spki, NOW).unwrap();
    assert_eq!(verified.ek_digest(), tpm.ek_public().spki_digest());
    assert_eq!(verified.class(), RootClass::Simulator);
    let foreign = stranger.certify(tpm.ek_public(), 7).unwrap();
    assert!(roots.verify(&foreign, &NONE, &spki, NOW).is_err());
    let other = SoftwareTpm::generate().unwrap();
    let other = other.ek_public().subject_public_key_info();
    assert!(roots.verify(&certificate, &NONE, &other, NOW).is_err());
}
