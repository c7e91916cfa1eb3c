//! What the quote must be: of this key, for this round, over what was asked, by known firmware.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::PcrSelection;
use touchstone_evidence::result::TrustTier;
use touchstone_tests::liar::{Liar, codes};
use touchstone_tests::world::healthy_host;

use super::held_entry;

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
async fn other_firmware_of_the_tpm_is_contraindicated() {
    let (world, host, _maker) = healthy_host().await;
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
