//! The boot log: which one must be shown, what is believed of it, and how much of it is kept.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::result::TrustTier;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::{Liar, codes};
use touchstone_tests::world::healthy_host;
use touchstone_tpm_sim::swtpm::Bank;

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_log_that_is_not_the_history_of_the_quote_is_contraindicated() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    // L1: the log of another boot, with its own digest.
    let other = std::fs::read(Profile::Altered.boot_log()).unwrap();
    let answer = liar.show_log(other).await.unwrap();
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
    let missing = liar.name_log(Sha256Digest::of(b"never seen")).await;
    assert_eq!(missing.unwrap_err(), "boot-log-required");
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
async fn a_log_that_is_not_sent_is_the_one_of_this_hosts_last_round() {
    let (world, host, maker) = healthy_host().await;
    let other = Host::boot(&maker.authority, "de-2", Profile::Altered);
    world.join(&other, Some("DE")).await;
    let liar = Liar::take(&host, &world.server).await;
    // Known, but of another host.
    let theirs = std::fs::read(Profile::Altered.boot_log()).unwrap();
    let named = liar.name_log(Sha256Digest::of(&theirs)).await;
    assert_eq!(named.unwrap_err(), "boot-log-required");
    // A log that was sent under the digest of another one was not kept under it.
    let unseen = Sha256Digest::of(b"never seen");
    let sent = liar.lie(|lie| lie.boot_log_digest = unseen).await.unwrap();
    assert!(codes(&sent).contains(&"boot-log-digest-mismatch"));
    let named = liar.name_log(unseen).await;
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
        let answer = liar.show_log(changed).await.unwrap();
        assert_eq!(answer.tier, TrustTier::Contraindicated);
        assert_eq!(codes(&answer), [code]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_cannot_fill_the_log_with_its_own_words() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    // A log of its own with a thousand loud events, all really extended into PCR 9.
    let mut log = std::fs::read(Profile::Healthy.boot_log()).unwrap();
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
        events.push((9, vec![(Bank::Sha256, digest.to_vec())]));
    }
    host.tpm.replay(&events).unwrap();
    let answer = liar.show_log(log).await.unwrap();
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
async fn a_host_cannot_fill_the_disk() {
    let (world, host, maker) = healthy_host().await;
    let neighbour = Host::boot(&maker.authority, "de-2", Profile::Healthy);
    world.join(&neighbour, Some("DE")).await;
    let liar = Liar::take(&host, &world.server).await;

    // Logs are kept by their digest, but only those that the quote bears out.
    assert_eq!(world.server.count("boot_logs").await, 1);
    let other = std::fs::read(Profile::Altered.boot_log()).unwrap();
    for log in [other, vec![7; 100_000]] {
        let answer = liar.show_log(log).await.unwrap();
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
