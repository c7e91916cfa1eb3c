//! Boots: what starts a new one, whose TPM it is, which firmware and PCR banks it has.

use std::time::Duration;

use touchstone_agent::attest::Agent;
use touchstone_evidence::boot_log::kind;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::result::TrustTier;
use touchstone_evidence::wire::RoundAnswer;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::{Liar, codes};
use touchstone_tests::many_banks::measured_but;
use touchstone_tests::world::{Maker, World, healthy_host};
use touchstone_tpm_sim::lies::code;
use touchstone_tpm_sim::swtpm::Bank;

/// resetCount and restartCount of the last appraised round.
fn counters(world: &World) -> (u64, u64) {
    let entries = world.server.audit_entries();
    let appraised = entries
        .iter()
        .rfind(|entry| entry["kind"] == "host-appraised")
        .unwrap();
    let counter = |name: &str| appraised[name].as_u64().unwrap();
    (counter("reset_count"), counter("restart_count"))
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_and_restarts_are_new_boots_and_nothing_worse() {
    let (world, mut host, _maker) = healthy_host().await;
    let before = counters(&world);

    host.cut_power();
    let liar = Liar::take(&host, &world.server).await;
    let without = liar.lie(|lie| lie.boot_log = None).await;
    assert_eq!(without.unwrap_err(), "boot-log-required");
    let outcome = host.attest(&world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    let cut = counters(&world);
    assert_eq!(cut, (before.0 + 1, 0), "a power cut is a TPM Reset");
    let told = Liar::take(&host, &world.server).await.lie(|_| ()).await;
    assert_eq!(code(&told), "none");

    host.restart();
    let without = liar.lie(|lie| lie.boot_log = None).await;
    assert_eq!(without.unwrap_err(), "boot-log-required");
    let outcome = host.attest(&world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    assert_eq!(counters(&world), (cut.0, cut.1 + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tpms_with_one_key_are_found() {
    let (world, mut host, _maker) = healthy_host().await;
    let copy = host.copy();
    let first = Liar::take(&host, &world.server).await;
    let early = first.challenge().await;
    // The copy starts later, so in the same boot its clock is behind; surely so, however busy this machine.
    host.tpm.advance_clock(Duration::from_secs(60)).unwrap();
    let copy = copy.boot();
    let second = Liar::take(&copy, &world.server).await;
    assert_eq!(first.lie(|_| ()).await.unwrap().tier, TrustTier::Affirming);
    // It may be only slow as long as its challenge was made before.
    let late = second.evidence(&early).await;
    assert_eq!(second.send(&late).await.unwrap_err(), "quote-not-newer");
    let found = second.lie(|_| ()).await.unwrap();
    assert_eq!(found.tier, TrustTier::Contraindicated);
    assert_eq!(codes(&found), ["tpm-cloned"]);
    // No pod goes to either of them, and none of them is trusted again, also after a reboot: only a state
    // that was restored can be behind, and it can be restored again.
    assert!(!world.server.place("u1", "node-de-1").await.0);
    let again = first.lie(|_| ()).await.unwrap();
    assert_eq!(codes(&again), ["tpm-cloned"]);

    host.reboot();
    copy.reboot();
    for one in [&second, &first, &second, &first] {
        let again = one.lie(|_| ()).await.unwrap();
        assert_eq!(codes(&again), ["tpm-cloned"]);
    }

    // Until an operator has it enrolled anew, which is right once no second TPM is left: a copy has the same
    // endorsement seed and could load the new key. This one lies still, with the old key.
    world.server.command(&["host", "reenrol", "de-1"]);
    host.enrol_again(&world.server, &world.join_token).unwrap();
    world.tag(&host, "DE");
    for _ in 0..2 {
        let outcome = host.attest(&world.server).unwrap();
        assert_eq!(outcome["tier"], "affirming", "{outcome}");
    }
    assert_eq!(second.send(&late).await.unwrap_err(), "host-reenrolled");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_firmware_waits_for_an_operator() {
    let (world, host, _maker) = healthy_host().await;
    // No simulated TPM changes its firmware, so the other way round: another version is the accepted one.
    let accept = |more: &[&str]| {
        let arguments = [&["host", "accept-firmware", "de-1"], more].concat();
        world.server.command(&arguments)
    };
    let answer = accept(&["--version", "0xdead"]);
    let real = answer["before"].as_str().unwrap().to_owned();
    assert_eq!(answer["version"], "0xdead");
    for _ in 0..2 {
        let outcome = host.attest(&world.server).unwrap();
        assert_eq!(outcome["tier"], "contraindicated", "{outcome}");
        assert_eq!(outcome["findings"][0]["code"], "firmware-version-changed");
        assert_eq!(outcome["findings"][0]["observed"], real.as_str());
    }
    assert!(!world.server.place("u1", "node-de-1").await.0);

    // As the verdict names it.
    assert_eq!(accept(&[])["version"], real.as_str());
    let outcome = host.attest(&world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    let kinds = world.server.audit_entries();
    let accepted: Vec<_> = kinds
        .iter()
        .filter(|entry| entry["kind"] == "firmware-accepted")
        .collect();
    assert_eq!(accepted.len(), 2);
    assert_eq!(accepted[1]["actor"], "operator");

    let refused = |arguments: &[&str]| {
        let output = world
            .server
            .run(&[&["host", "accept-firmware"], arguments].concat());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["de-1"]).contains("--version"));
    assert!(refused(&["de-1", "--version", "12"]).contains("hexadecimal"));
    let (operator, body) = (
        world.server.operator(),
        serde_json::json!({ "version": "12" }),
    );
    let path = "/v1/hosts/de-1/firmware";
    let token = operator["token"].as_str();
    let sent = world
        .server
        .send(reqwest::Method::POST, path, token, Some(&body));
    let (_, problem) = sent.await;
    assert_eq!(problem["type"], "touchstone:firmware-version-malformed");
    assert!(refused(&["nobody", "--version", "0x12"]).contains("host-unknown"));
}

/// The answer to the honest evidence of a machine that is enrolled.
async fn round(world: &World, host: &Host) -> RoundAnswer {
    world.admit(host, Some("DE")).await;
    host.enrol(&world.server, &world.join_token).unwrap();
    Liar::take(host, &world.server)
        .await
        .lie(|_| ())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_active_bank_must_lead_from_the_log() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let banks = [Bank::Sha1, Bank::Sha256, Bank::Sha384, Bank::Sha512];
    let host = Host::boot_with_banks(&maker.authority, "de-1", &banks);
    let outcome = world.join(&host, Some("DE")).await;
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    // Without the log, in the same boot.
    let outcome = host.attest(&world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    let liar = Liar::take(&host, &world.server).await;

    // What shows the banks is of this round, and whole.
    let challenge = liar.challenge().await;
    let earlier = liar.evidence(&challenge).await.banks.unwrap();
    for (lie, code) in [
        (0, "pcr-banks-not-authentic"),
        (1, "pcr-banks-not-authentic"),
        (2, "pcr-banks-audit-mismatch"),
        (3, "pcr-banks-digest-mismatch"),
        (4, "pcr-banks-not-audited"),
        (5, "pcr-banks-not-quoted"),
        (6, "pcr-banks-selection-mismatch"),
    ] {
        let answer = liar
            .lie(|evidence| {
                let quote = evidence.quote.clone();
                let banks = evidence.banks.as_mut().unwrap();
                match lie {
                    0 => banks.audit = earlier.audit.clone(),
                    1 => banks.quote = earlier.quote.clone(),
                    2 => banks.capability.0[8] ^= 1,
                    3 => banks.values.0[0] ^= 1,
                    4 => banks.audit = banks.quote.clone(),
                    5 => banks.quote = banks.audit.clone(),
                    _ => banks.quote = quote,
                }
            })
            .await
            .unwrap();
        assert_eq!(codes(&answer), [code], "{lie}");
        assert_eq!(answer.tier, TrustTier::Contraindicated);
    }
    // After that the log is needed again, and without its banks it says too little.
    let named = liar
        .lie(|lie| {
            lie.boot_log = None;
            lie.banks = None;
        })
        .await;
    assert_eq!(named.unwrap_err(), "boot-log-required");
    let bare = liar.lie(|lie| lie.banks = None).await.unwrap();
    assert_eq!(codes(&bare), ["pcr-banks-absent"]);
    assert_eq!(bare.tier, TrustTier::None);
    assert_eq!(liar.lie(|_| ()).await.unwrap().tier, TrustTier::Affirming);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_the_firmware_did_not_extend_proves_nothing() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    // The firmware measures a bad boot, into SHA-1 alone; the running system fills the other bank with the
    // known-good digests and serves the log of them.
    let filled = Host::untouched(&maker.authority, "de-1", &[Bank::Sha1, Bank::Sha256]);
    let bad = std::fs::read(Profile::Altered.boot_log()).unwrap();
    let (_, events) = touchstone_tests::many_banks::measured(&bad, &[Bank::Sha1]);
    filled.tpm.replay(&events).unwrap();
    filled.measure();
    let answer = round(&world, &filled).await;
    assert_eq!(answer.tier, TrustTier::Contraindicated);
    assert_eq!(codes(&answer)[0], "boot-log-banks-not-active");

    // With a log of both banks, which leads to nothing that the firmware left.
    let good = std::fs::read(Profile::Healthy.boot_log()).unwrap();
    let (both, _) = touchstone_tests::many_banks::measured(&good, &[Bank::Sha1, Bank::Sha256]);
    let liar = Liar::take(&filled, &world.server).await;
    let answer = liar.show_log(both.clone()).await.unwrap();
    assert_eq!(codes(&answer)[0], "boot-log-bank-replay-mismatch");

    // Nothing was measured, or all was closed.
    let empty = Host::untouched(&maker.authority, "de-2", &[Bank::Sha256]);
    assert_eq!(codes(&round(&world, &empty).await)[0], "pcr-bank-empty");
    let capped = Host::untouched(&maker.authority, "de-3", &[Bank::Sha256]);
    let separator = Sha256Digest::of(&[0xff; 4]).0.to_vec();
    let caps: Vec<_> = (0..8)
        .map(|pcr| (pcr, vec![(Bank::Sha256, separator.clone())]))
        .collect();
    capped.tpm.replay(&caps).unwrap();
    assert_eq!(codes(&round(&world, &capped).await)[0], "pcr-bank-capped");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_evidence_sent_many_times_at_once_is_one_round() {
    for database in Database::each_under_test() {
        let maker = Maker::new();
        let world = World::start(&database, &maker);
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        world.join(&host, Some("DE")).await;
        let liar = Liar::take(&host, &world.server).await;
        let appraised = || {
            let entries = world.server.audit_entries();
            let kinds = entries.iter().map(|entry| &entry["kind"]);
            kinds.filter(|kind| **kind == "host-appraised").count()
        };
        let before = appraised();
        let challenge = liar.challenge().await;
        let evidence = liar.evidence(&challenge).await;
        let send = || liar.send(&evidence);
        let (a, b, c, d) = tokio::join!(send(), send(), send(), send());
        let said = [a, b, c, d];
        assert!(said.iter().all(|said| code(said) == "none"), "{said:?}");
        let answers: Vec<RoundAnswer> = said.map(Result::unwrap).into();
        for answer in &answers {
            assert_eq!(answer.entry, answers[0].entry);
            assert_eq!(answer.result, answers[0].result);
            assert_eq!(answer.challenge, answers[0].challenge);
        }
        assert_eq!(appraised(), before + 1, "{}", database.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_neither_moves_a_verdict_nor_grows_the_log() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let challenge = liar.challenge().await;
    let evidence = liar.evidence(&challenge).await;
    let before = (
        world.server.get("/v1/hosts/de-1").await["entry"].clone(),
        world.server.audit_entries().len(),
    );
    for _ in 0..20 {
        let junk = liar.send_as_stranger(&evidence).await.unwrap();
        assert_eq!(junk.unwrap_err(), "unauthenticated");
        // The host's own TLS key, and nothing that its TPM said.
        let mut junk = evidence.clone();
        junk.quote.signature.0.clear();
        assert_eq!(liar.send(&junk).await.unwrap_err(), "signature-absent");
    }
    let host = world.server.get("/v1/hosts/de-1").await;
    assert_eq!(host["entry"], before.0);
    assert!(world.server.audit_entries().len() <= before.1 + 1);
    // And the challenge is as good as it was.
    assert_eq!(
        liar.send(&evidence).await.unwrap().tier,
        TrustTier::Affirming
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_runs_unlike_time_proves_nothing() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    assert_eq!(liar.lie(|_| ()).await.unwrap().tier, TrustTier::Affirming);
    // The owner of a TPM may set its clock forward (TPM2_ClockSet).
    host.tpm.advance_clock(Duration::from_secs(3600)).unwrap();
    let answer = liar.lie(|_| ()).await.unwrap();
    assert_eq!(answer.tier, TrustTier::None);
    assert_eq!(codes(&answer), ["tpm-clock-drift"]);
    // From there on it runs like time again.
    assert_eq!(liar.lie(|_| ()).await.unwrap().tier, TrustTier::Affirming);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_does_not_show_its_banks_is_heard_all_the_same() {
    let (world, host, _maker) = healthy_host().await;
    let mut agent = Agent::open(&host.settings(&world.server)).await.unwrap();
    assert_eq!(agent.attest().await.unwrap().tier, TrustTier::Affirming);
    let liar = Liar::take(&host, &world.server).await;
    // After this the log is needed again, and the banks with it.
    let broken = liar.lie(|lie| lie.banks.as_mut().unwrap().values.0[0] ^= 1);
    broken.await.unwrap();
    host.tpm.set_endorsement_auth(*b"nobody's").unwrap();
    let outcome = agent.attest().await.unwrap();
    assert_eq!(outcome.tier, TrustTier::None);
    assert_eq!(outcome.findings[0].code, "pcr-banks-absent");
}

/// What cannot be told apart, so that the documents have to: a digest of a file says nothing but itself.
#[tokio::test(flavor = "multi_thread")]
async fn another_boot_loader_in_a_bank_beside_sha256_passes() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let banks = [Bank::Sha1, Bank::Sha256];
    let host = Host::untouched(&maker.authority, "de-1", &banks);
    let good = std::fs::read(Profile::Healthy.boot_log()).unwrap();
    // The firmware measured other programs, into SHA-1 alone; the rest of the log is that of the good boot.
    let (log, events) = measured_but(&good, &banks, |event, bank| {
        let program = event.untrusted_kind == kind::EFI_BOOT_SERVICES_APPLICATION;
        (program && bank == Bank::Sha1).then(|| vec![6; 20])
    });
    host.tpm.replay(&events).unwrap();
    host.measure_runtime();
    world.admit(&host, Some("DE")).await;
    host.enrol(&world.server, &world.join_token).unwrap();
    // Its agent gives the TPM its tag; the log that it sends is of SHA-256 alone.
    host.attest(&world.server).unwrap();
    let liar = Liar::take(&host, &world.server).await;
    assert_eq!(code(&liar.show_log(log).await), "none");
}
