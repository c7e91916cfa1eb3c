//! Rounds: what a host can say about itself, and what is believed.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::PcrSelection;
use touchstone_evidence::result::TrustTier;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::{Liar, codes};
use touchstone_tests::world::{Maker, World, healthy_host};

/// The verdict that the attestor holds, by which a refusal shows that it changed nothing.
async fn held_entry(world: &touchstone_tests::world::World) -> String {
    let host = world.server.get("/v1/hosts/de-1").await;
    host["entry"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_that_is_not_of_this_key_for_this_round_changes_nothing() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let before = held_entry(&world).await;

    // Q1: one bit of the signature; the right signature over other bytes.
    let last_bit = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    let flipped = liar.lie(|lie| last_bit(&mut lie.quote.signature.0)).await;
    assert_eq!(flipped.unwrap_err(), "signature-invalid");
    let altered = liar.lie(|lie| last_bit(&mut lie.quote.attest.0)).await;
    assert_eq!(altered.unwrap_err(), "signature-invalid");

    // Q3: a quote for an earlier challenge, sent for the current one.
    let earlier = liar.challenge().await;
    let stale = liar.evidence(&earlier).await;
    let relabelled = liar.lie(|lie| lie.quote = stale.quote.clone()).await;
    assert_eq!(relabelled.unwrap_err(), "qualifying-data-mismatch");

    // Q3: a nonce that was never given.
    let invented = liar.lie(|lie| lie.nonce.0[0] ^= 1).await;
    assert_eq!(invented.unwrap_err(), "challenge-unknown");

    // Q12: bound to another boot than the one named.
    let boot = liar.lie(|lie| lie.boot_id.0[0] ^= 1).await;
    assert_eq!(boot.unwrap_err(), "qualifying-data-mismatch");

    // Q2: the TPM's word about its NV index in place of a quote: signed, for this round, no quote.
    assert_eq!(
        held_entry(&world).await,
        before,
        "a refused round moved the verdict"
    );
    let entries = world.server.audit_entries();
    let refused = entries
        .iter()
        .filter(|entry| entry["kind"] == "refused")
        .count();
    assert!(refused <= 1, "refusals must not grow the log: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authentic_statement_that_is_no_quote_is_contraindicated() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let answer = liar
        .lie(|lie| lie.quote = lie.location.clone().unwrap())
        .await
        .unwrap();
    assert_eq!(answer.tier, TrustTier::Contraindicated);
    assert!(
        codes(&answer).contains(&"not-a-quote"),
        "{:?}",
        answer.findings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quote_covers_exactly_what_was_asked_for() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    for pcrs in [(0..8).collect::<Vec<u8>>(), (0..17).collect(), vec![16, 23]] {
        let challenge = liar.challenge().await;
        let selection = PcrSelection::try_from(pcrs).unwrap();
        let evidence = liar.evidence_over(&challenge, selection).await;
        let answer = liar.send(&evidence).await.unwrap();
        assert_eq!(answer.tier, TrustTier::Contraindicated);
        assert!(codes(&answer).contains(&"pcr-selection-mismatch"));
    }
    // Q6: the digest is right, a value is not.
    let answer = liar
        .lie(|lie| {
            lie.pcrs.0.insert(8, Sha256Digest::ZERO);
        })
        .await
        .unwrap();
    assert!(codes(&answer).contains(&"pcr-digest-mismatch"));
    // And back: the host is as good as before.
    assert_eq!(liar.lie(|_| ()).await.unwrap().tier, TrustTier::Affirming);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_log_that_is_not_the_history_of_the_quote_is_contraindicated() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    // L1: the log of another boot, with its own digest.
    let other = std::fs::read(touchstone_tests::host::Profile::Altered.boot_log()).unwrap();
    let answer = liar
        .lie(|lie| {
            lie.boot_log_digest = Sha256Digest::of(&other);
            lie.boot_log = Some(other.into());
        })
        .await
        .unwrap();
    assert_eq!(answer.tier, TrustTier::Contraindicated);
    assert!(
        codes(&answer).contains(&"boot-log-replay-mismatch"),
        "{:?}",
        answer.findings
    );

    // The log announced is not the log sent.
    let answer = liar
        .lie(|lie| lie.boot_log_digest = Sha256Digest::ZERO)
        .await
        .unwrap();
    assert!(codes(&answer).contains(&"boot-log-digest-mismatch"));

    // L7: a log that is not known must come along.
    let missing = liar
        .lie(|lie| {
            lie.boot_log = None;
            lie.boot_log_digest = Sha256Digest::of(b"never seen");
        })
        .await;
    assert_eq!(missing.unwrap_err(), "boot-log-required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_given_again_and_a_challenge_serves_once() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let challenge = liar.challenge().await;
    let evidence = liar.evidence(&challenge).await;
    let first = liar.send(&evidence).await.unwrap();
    let again = liar.send(&evidence).await.unwrap();
    assert_eq!((first.result, first.entry), (again.result, again.entry));
    assert_eq!(first.challenge, again.challenge);
    // Q4: other evidence for the same challenge.
    let other = liar.evidence(&challenge).await;
    assert_eq!(liar.send(&other).await.unwrap_err(), "challenge-replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_round_never_overrides_a_newer_one() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    // Q14: quoted first, sent last.
    let slow = liar.challenge().await;
    let slow_evidence = liar.evidence(&slow).await;
    liar.lie(|_| ()).await.unwrap();
    let newest = held_entry(&world).await;
    assert_eq!(
        liar.send(&slow_evidence).await.unwrap_err(),
        "quote-not-newer"
    );
    assert_eq!(held_entry(&world).await, newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_boot_needs_the_whole_log_and_then_stands() {
    let (world, host, _maker) = healthy_host().await;
    host.reboot();
    // The agent notices, and sends the log that the attestor asks for.
    let outcome = host.attest(&world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    host.reboot();
    let liar = Liar::take(&host, &world.server).await;
    let without = liar.lie(|lie| lie.boot_log = None).await;
    assert_eq!(without.unwrap_err(), "boot-log-required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_holds_only_a_few_challenges_at_once() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let first = liar.challenge().await;
    let evidence = liar.evidence(&first).await;
    // All within one second or a few: which of the oldest went does not matter, but that some did.
    for _ in 0..40 {
        liar.challenge().await;
    }
    assert_eq!(liar.send(&evidence).await.unwrap_err(), "challenge-unknown");
    assert_eq!(liar.lie(|_| ()).await.unwrap().tier, TrustTier::Affirming);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tpm_said_last_counts_not_what_was_asked_last() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    assert!(world.server.place("u1", "node-de-1").await.0);
    let first = liar.challenge().await;
    let second = liar.challenge().await;
    let clean = liar.evidence(&second).await;
    assert_eq!(liar.send(&clean).await.unwrap().tier, TrustTier::Affirming);
    // The host turns bad, and says so in answer to the older challenge.
    host.tpm
        .extend(8, &[(touchstone_tpm_sim::swtpm::Bank::Sha256, vec![7; 32])])
        .unwrap();
    let bad = liar.evidence(&first).await;
    assert_eq!(
        liar.send(&bad).await.unwrap().tier,
        TrustTier::Contraindicated
    );
    let (admitted, why) = world.server.place("u2", "node-de-1").await;
    assert!(!admitted, "the newest verdict is contraindicated");
    assert!(why.contains("contraindicated"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_cannot_fill_the_log_with_its_own_words() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    // A log of its own with a thousand loud events, all really extended into PCR 9.
    let mut log = std::fs::read(touchstone_tests::host::Profile::Healthy.boot_log()).unwrap();
    let mut events = Vec::new();
    for number in 0..1000u32 {
        let words = format!("{number}: {}", "\u{1}".repeat(600));
        let digest = Sha256Digest::of(words.as_bytes()).0;
        log.extend(9u32.to_le_bytes());
        log.extend(0x0du32.to_le_bytes());
        log.extend(1u32.to_le_bytes());
        log.extend(0x0bu16.to_le_bytes());
        log.extend(digest);
        log.extend(u32::try_from(words.len()).unwrap().to_le_bytes());
        log.extend(words.as_bytes());
        events.push((
            9,
            vec![(touchstone_tpm_sim::swtpm::Bank::Sha256, digest.to_vec())],
        ));
    }
    host.tpm.replay(&events).unwrap();
    let answer = liar
        .lie(|lie| {
            lie.boot_log_digest = Sha256Digest::of(&log);
            lie.boot_log = Some(log.into());
        })
        .await
        .unwrap();
    assert_eq!(answer.tier, TrustTier::Contraindicated);
    assert_eq!(codes(&answer).last(), Some(&"findings-omitted"));
    let longest = world
        .server
        .audit_entries()
        .iter()
        .map(|e| e.to_string().len())
        .max();
    assert!(longest.unwrap() < 256 * 1024, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_for_one_host_and_for_a_while() {
    let (database, maker) = (Database::under_test(), Maker::new());
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let other = Host::boot(&maker.authority, "de-2", Profile::Healthy);
    world.join(&host, Some("DE")).await;
    world.join(&other, Some("DE")).await;
    let liar = Liar::take(&host, &world.server).await;
    let theirs = Liar::take(&other, &world.server).await.challenge().await;
    let evidence = liar.evidence(&theirs).await;
    assert_eq!(liar.send(&evidence).await.unwrap_err(), "challenge-unknown");

    let late = liar.challenge().await;
    let late = liar.evidence(&late).await;
    world
        .server
        .execute("UPDATE challenges SET expires_at = issued_at")
        .await;
    assert_eq!(liar.send(&late).await.unwrap_err(), "challenge-expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_clean_round_does_not_come_before_a_newer_bad_one() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let slow = liar.challenge().await;
    let clean = liar.evidence(&slow).await;
    let bad = liar.lie_without_location().await.unwrap();
    assert_ne!(bad.tier, TrustTier::Affirming);
    assert_eq!(liar.send(&clean).await.unwrap_err(), "quote-not-newer");
    let held = world.server.get("/v1/hosts/de-1").await;
    assert_eq!(held["entry"], bad.entry.to_string());
    assert!(!world.server.place("u1", "node-de-1").await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_firmware_of_the_tpm_is_contraindicated() {
    let (database, maker) = (Database::under_test(), Maker::new());
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.join(&host, Some("DE")).await;
    world
        .server
        .execute("UPDATE hosts SET firmware_version = firmware_version + 1")
        .await;
    let liar = Liar::take(&host, &world.server).await;
    let answer = liar.lie(|_| ()).await.unwrap();
    assert_eq!(answer.tier, TrustTier::Contraindicated);
    assert!(codes(&answer).contains(&"firmware-version-changed"));
    // Time does not heal it.
    let answer = liar.lie(|_| ()).await.unwrap();
    assert!(codes(&answer).contains(&"firmware-version-changed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_sent_is_the_one_of_this_hosts_last_round() {
    let (world, host, maker) = healthy_host().await;
    let other = Host::boot(&maker.authority, "de-2", Profile::Altered);
    world.join(&other, Some("DE")).await;
    let liar = Liar::take(&host, &world.server).await;
    // Known, but of another host.
    let theirs = std::fs::read(Profile::Altered.boot_log()).unwrap();
    let named = liar
        .lie(|lie| {
            lie.boot_log = None;
            lie.boot_log_digest = Sha256Digest::of(&theirs);
        })
        .await;
    assert_eq!(named.unwrap_err(), "boot-log-required");
    // A log that was sent under the digest of another one was not kept under it.
    let unseen = Sha256Digest::of(b"never seen");
    let sent = liar.lie(|lie| lie.boot_log_digest = unseen).await.unwrap();
    assert!(codes(&sent).contains(&"boot-log-digest-mismatch"));
    let named = liar
        .lie(|lie| {
            lie.boot_log = None;
            lie.boot_log_digest = unseen;
        })
        .await;
    assert_eq!(named.unwrap_err(), "boot-log-required");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_type_was_changed_proves_nothing() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let log = std::fs::read(Profile::Healthy.boot_log()).unwrap();
    let variable: Vec<u8> = "SecureBoot"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    // Vendor and two lengths stand before the variable's name.
    for (data, before, code) in [
        (&b"kernel_cmdline: "[..], 0, "kernel-command-line-changed"),
        (&variable, 32, "secure-boot-off"),
    ] {
        let mut changed = log.clone();
        let found = log.windows(data.len()).position(|part| part == data);
        // The type is the second field of an event, 46 bytes before its data, and in no digest.
        changed[found.unwrap() - before - 46] ^= 1;
        let answer = liar
            .lie(|lie| {
                lie.boot_log_digest = Sha256Digest::of(&changed);
                lie.boot_log = Some(changed.into());
            })
            .await
            .unwrap();
        assert_eq!(answer.tier, TrustTier::Contraindicated);
        assert_eq!(codes(&answer), [code]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_cannot_fill_the_disk() {
    let (database, maker) = (Database::under_test(), Maker::new());
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let neighbour = Host::boot(&maker.authority, "de-2", Profile::Healthy);
    world.join(&host, Some("DE")).await;
    world.join(&neighbour, Some("DE")).await;
    let liar = Liar::take(&host, &world.server).await;

    // Logs are kept by their digest, but only those that the quote bears out.
    assert_eq!(world.server.count("boot_logs").await, 1);
    let other = std::fs::read(Profile::Altered.boot_log()).unwrap();
    for log in [other, vec![7; 100_000]] {
        let answer = liar
            .lie(|lie| {
                lie.boot_log_digest = Sha256Digest::of(&log);
                lie.boot_log = Some(log.into());
            })
            .await
            .unwrap();
        assert_eq!(answer.tier, TrustTier::Contraindicated);
    }
    assert_eq!(world.server.count("boot_logs").await, 1);

    // Evidence is kept as it was sent: written out nicely, but not at any length.
    let challenge = liar.challenge().await;
    let evidence = liar.evidence(&challenge).await;
    let mut padded = serde_json::to_vec(&evidence).unwrap();
    padded.splice(1..1, [b' '; 8192]);
    let said = liar.send_bytes(&padded).await;
    assert_eq!(said.unwrap_err(), "evidence-padded");
    let nicely = serde_json::to_vec_pretty(&evidence).unwrap();
    let answer = liar.send_bytes(&nicely).await.unwrap();
    assert_eq!(answer.tier, TrustTier::Affirming);

    // However true it is, there is an end to how much.
    let large = vec![b' '; 3 << 20];
    let mut taken = 0;
    let refused = loop {
        let said = liar.send_bytes(&large).await.unwrap_err();
        if said != "malformed-body" || taken > 60 {
            break said;
        }
        taken += 1;
    };
    assert_eq!(refused, "evidence-too-much", "after {taken} messages");
    assert!(taken >= 9, "{taken}");
    // Other hosts do not pay for it.
    let outcome = neighbour.attest(&world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
}
