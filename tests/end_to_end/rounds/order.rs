//! Challenges and the order of answers: what is answered once, what is too late, and what counts last.

use touchstone_evidence::result::TrustTier;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::healthy_host;
use touchstone_tpm_sim::swtpm::Bank;

use super::held_entry;

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
async fn a_challenge_is_for_one_host_and_for_a_while() {
    let (world, host, maker) = healthy_host().await;
    let other = Host::boot(&maker.authority, "de-2", Profile::Healthy);
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
async fn what_the_tpm_said_last_counts_not_what_was_asked_last() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    assert!(world.server.place("u1", "node-de-1").await.0);
    let first = liar.challenge().await;
    let second = liar.challenge().await;
    let clean = liar.evidence(&second).await;
    assert_eq!(liar.send(&clean).await.unwrap().tier, TrustTier::Affirming);
    // The host turns bad, and says so in answer to the older challenge.
    host.tpm.extend(8, &[(Bank::Sha256, vec![7; 32])]).unwrap();
    let bad = liar.evidence(&first).await;
    assert_eq!(
        liar.send(&bad).await.unwrap().tier,
        TrustTier::Contraindicated
    );
    let (admitted, why) = world.server.place("u2", "node-de-1").await;
    assert!(!admitted, "the newest verdict is contraindicated");
    assert!(why.contains("contraindicated"), "{why}");
}
