//! Messages of every shape come back as they were sent, and no part of one is a message.

use std::fmt::Debug;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::de::DeserializeOwned;

use super::*;

fn bytes<const MAX: usize>(longest: usize) -> impl Strategy<Value = Bytes<MAX>> {
    vec(any::<u8>(), 0..=longest.min(MAX)).prop_map(Bytes)
}

fn digest() -> impl Strategy<Value = Sha256Digest> {
    any::<[u8; 32]>().prop_map(Sha256Digest)
}

fn host() -> impl Strategy<Value = HostId> {
    "[a-z0-9]{1,20}".prop_map(|name| name.parse().unwrap())
}

fn signed() -> impl Strategy<Value = SignedAttest> {
    (bytes(200), bytes(80)).prop_map(|(attest, signature)| SignedAttest { attest, signature })
}

fn position() -> impl Strategy<Value = RuntimePosition> {
    any::<(u32, u32, u64)>().prop_map(|(reset_count, restart_count, offset)| RuntimePosition {
        reset_count,
        restart_count,
        offset,
    })
}

fn challenge() -> impl Strategy<Value = Challenge> {
    let pcrs = proptest::sample::subsequence((0..24).collect::<Vec<u8>>(), 0..=24);
    let tag = option::of(bytes(TAG_MAX));
    let logs = (option::of(digest()), option::of(position()), tag);
    (bytes(32), pcrs, any::<i64>(), logs).prop_map(|(nonce, pcrs, expires_at, logs)| Challenge {
        nonce,
        pcrs: pcrs.try_into().unwrap(),
        expires_at,
        known_boot_log: logs.0,
        runtime: logs.1,
        location_tag: logs.2,
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let pcrs = btree_map(0_u8..24, digest(), 0..24).prop_map(PcrValues);
    let banks = (bytes(128), signed(), signed(), bytes(300)).prop_map(
        |(capability, audit, quote, values)| BankEvidence {
            capability,
            audit,
            quote,
            values,
        },
    );
    let runtime =
        (any::<u64>(), bytes(300), any::<bool>()).prop_map(|(offset, entries, more)| RuntimePart {
            offset,
            entries,
            more,
        });
    let logs = (
        digest(),
        option::of(bytes(300)),
        option::of(banks),
        option::of(runtime),
    );
    let release_key = (bytes(90), signed()).prop_map(|(public, certification)| ReleaseKey {
        public,
        certification,
    });
    let certified = (
        option::of(signed()),
        option::of(release_key),
        option::of(digest()),
    );
    let round = (bytes(32), bytes(16), signed(), pcrs, certified);
    (round, logs).prop_map(|(round, logs)| Evidence {
        nonce: round.0,
        boot_id: round.1,
        quote: round.2,
        pcrs: round.3,
        boot_log_digest: logs.0,
        boot_log: logs.1,
        banks: logs.2,
        runtime: logs.3,
        location: round.4.0,
        release_key: round.4.1,
        node_token: round.4.2,
    })
}

fn enrolment() -> impl Strategy<Value = EnrolmentRequest> {
    let intermediates = vec(bytes(60), 0..=INTERMEDIATES_MAX).prop_map(Few);
    let certificates = (bytes(300), intermediates, option::of(bytes(300)));
    (certificates, bytes(80), bytes(80)).prop_map(|(certificates, ek_public, ak_public)| {
        EnrolmentRequest {
            ek_certificate: certificates.0,
            intermediates: certificates.1,
            platform_certificate: certificates.2,
            ek_public,
            ak_public,
        }
    })
}

fn credential() -> impl Strategy<Value = EnrolmentChallenge> {
    (bytes(16), host(), bytes(80), bytes(300)).prop_map(
        |(enrolment, host, credential, encrypted_seed)| EnrolmentChallenge {
            enrolment,
            host,
            credential,
            encrypted_seed,
        },
    )
}

fn finding() -> impl Strategy<Value = Finding> {
    let text = || option::of("\\PC{0,20}");
    ("[a-z-]{1,20}", "\\PC{0,20}", text(), text(), text()).prop_map(|parts| Finding {
        code: parts.0,
        subject: parts.1,
        expected: parts.2,
        observed: parts.3,
        consequence_of: parts.4,
    })
}

fn answer() -> impl Strategy<Value = RoundAnswer> {
    let tier = proptest::sample::select(vec![
        TrustTier::None,
        TrustTier::Affirming,
        TrustTier::Warning,
        TrustTier::Contraindicated,
    ]);
    let findings = vec(finding(), 0..4);
    (tier, findings, "[\\w.-]{0,80}", digest(), challenge()).prop_map(
        |(tier, findings, result, entry, challenge)| RoundAnswer {
            tier,
            findings,
            result,
            entry,
            challenge,
            revoked: Few::default(),
        },
    )
}

fn comes_back<T>(message: &T) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let text = serde_json::to_string(message).unwrap();
    prop_assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), message);
    for length in 0..text.len() {
        let part = text.as_bytes().get(..length).unwrap();
        prop_assert!(serde_json::from_slice::<T>(part).is_err(), "{length}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn messages_of_enrolment_come_back(
        request in enrolment(),
        credential in credential(),
        (host, challenge) in (host(), challenge()),
    ) {
        comes_back(&request)?;
        comes_back(&credential)?;
        comes_back(&Enrolled { host, challenge })?;
    }

    #[test]
    fn a_sealed_release_comes_back(
        public in bytes(128),
        duplicate in bytes(256),
        encrypted_seed in bytes(128),
    ) {
        comes_back(&SealedRelease { public, duplicate, encrypted_seed })?;
    }

    #[test]
    fn messages_of_a_round_come_back(evidence in evidence(), answer in answer()) {
        comes_back(&evidence)?;
        comes_back(&answer)?;
    }

    #[test]
    fn an_activation_comes_back(enrolment in bytes(16), secret in bytes(64)) {
        let text = serde_json::to_string(&Activation { enrolment, secret }).unwrap();
        let read: Activation = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}
