//! Q: lies about the quote and the keys that make it.

use touchstone_agent::client::{Client, Error};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::PcrSelection;
use touchstone_evidence::wire::{Challenge, Evidence};
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::world::healthy_host;

use super::{Told, code};

pub(super) const TOLD: &[&str] = &[
    "Q1a", "Q1b", "Q1c", "Q1d", "Q1e", "Q2a", "Q3a", "Q3b", "Q3c", "Q3d", "Q3e", "Q4", "Q5a",
    "Q5b", "Q5c", "Q6a", "Q6b", "Q8a", "Q8b", "Q9a", "Q9b", "Q11b", "Q12a", "Q12b", "Q14a", "Q14b",
    "Q15",
];

pub(super) async fn tell() -> Told {
    let (world, host, maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let mut told = Told::new();
    signatures(&liar, &mut told).await;
    nonces(&liar, &mut told).await;
    selections(&liar, &mut told).await;

    // A second enrolled host, for what is relayed and what is posted in another's name.
    let other = Host::boot(&maker.authority, "de-7", Profile::Healthy);
    world.join(&other, Some("DE")).await;
    let other = Liar::take(&other, &world.server).await;
    let theirs = other.challenge().await;
    let relayed = other.evidence(&theirs).await;
    told.insert("Q3a", code(liar.send(&relayed).await));
    let borrowed = liar.lie(|lie| lie.quote = relayed.quote.clone()).await;
    told.insert("Q12a", code(borrowed));
    let held = world.server.get("/v1/hosts/de-1").await["entry"].clone();
    told.insert("Q15", stranger_posts(&liar, &relayed).await);
    assert_eq!(world.server.get("/v1/hosts/de-1").await["entry"], held);

    order(&liar, &host, &mut told).await;

    // Q1 under a policy that asks for nothing else.
    let policy = "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {name: any}\nspec: {hosts: ['*'], freshnessSeconds: 60}\n";
    let file = world.server.file("any.yaml", policy);
    world.server.command(&["policy", "apply", &file]);
    let flipped = liar.lie(|lie| flip_last(&mut lie.quote.signature.0)).await;
    told.insert("Q1e", code(flipped));
    told
}

async fn signatures(liar: &Liar, told: &mut Told) {
    let flipped = liar.lie(|lie| flip_last(&mut lie.quote.signature.0)).await;
    told.insert("Q1a", code(flipped));
    let empty = liar.lie(|lie| lie.quote.signature.0.clear()).await;
    told.insert("Q1b", code(empty));
    let challenge = liar.challenge().await;
    let mut evidence = liar.evidence(&challenge).await;
    evidence.quote = liar.quote_by_another_key(&challenge).await;
    told.insert("Q1c", code(liar.send(&evidence).await));
    let other_bytes = liar.lie(|lie| flip_last(&mut lie.quote.attest.0)).await;
    told.insert("Q1d", code(other_bytes));
    let certified = liar
        .lie(|lie| lie.quote = lie.location.clone().unwrap())
        .await;
    told.insert("Q2a", code(certified));
    // The bytes that were signed, and one more: another message.
    let longer = liar.lie(|lie| lie.quote.attest.0.push(0)).await;
    told.insert("Q9a", code(longer));
    let cut = liar.lie(|lie| lie.quote.signature.0.truncate(71)).await;
    told.insert("Q9b", code(cut));
}

async fn nonces(liar: &Liar, told: &mut Told) {
    let earlier = liar.challenge().await;
    let stale = liar.evidence(&earlier).await;
    let relabelled = liar.lie(|lie| lie.quote = stale.quote.clone()).await;
    told.insert("Q3b", code(relabelled));
    let invented = liar.lie(|lie| lie.nonce.0[0] ^= 1).await;
    told.insert("Q3c", code(invented));
    let truncated = liar.lie(|lie| lie.nonce.0.truncate(31)).await;
    told.insert("Q3d", code(truncated));
    // Another encoding of the same bytes is not the canonical one.
    let challenge = liar.challenge().await;
    let evidence = liar.evidence(&challenge).await;
    let mut json = serde_json::to_value(&evidence).unwrap();
    let nonce = format!("{}=", json["nonce"].as_str().unwrap());
    json["nonce"] = nonce.into();
    told.insert(
        "Q3e",
        liar.send_bytes(&serde_json::to_vec(&json).unwrap()).await,
    );
    let boot = liar.lie(|lie| lie.boot_id.0[0] ^= 1).await;
    told.insert("Q12b", code(boot));
    let challenge = liar.challenge().await;
    let first = liar.evidence(&challenge).await;
    liar.send(&first).await.unwrap();
    let second = liar.evidence(&challenge).await;
    told.insert("Q4", code(liar.send(&second).await));
}

async fn selections(liar: &Liar, told: &mut Told) {
    for (id, pcrs) in [
        ("Q5a", (0..8).collect::<Vec<u8>>()),
        ("Q5b", (0..17).collect()),
    ] {
        let challenge = liar.challenge().await;
        let selection = PcrSelection::try_from(pcrs).unwrap();
        let evidence = liar.evidence_over(&challenge, selection).await;
        told.insert(id, code(liar.send(&evidence).await));
    }
    // PCR 16, which anybody may reset, presented as PCR 8.
    let challenge = liar.challenge().await;
    let selection: Vec<u8> = (0..8).chain(9..17).collect();
    let selection = PcrSelection::try_from(selection).unwrap();
    let mut evidence = liar.evidence_over(&challenge, selection).await;
    let sixteen = evidence.pcrs.0.remove(&16).unwrap();
    evidence.pcrs.0.insert(8, sixteen);
    told.insert("Q5c", code(liar.send(&evidence).await));
    let wrong = liar
        .lie(|lie| {
            lie.pcrs.0.insert(8, Sha256Digest::ZERO);
        })
        .await;
    told.insert("Q6a", code(wrong));
    let unselected = liar
        .lie(|lie| {
            lie.pcrs.0.insert(23, Sha256Digest::ZERO);
        })
        .await;
    told.insert("Q6b", code(unselected));
}

async fn order(liar: &Liar, host: &Host, told: &mut Told) {
    let slow = liar.challenge().await;
    let slow_evidence = liar.evidence(&slow).await;
    liar.lie(|_| ()).await.unwrap();
    told.insert("Q14a", code(liar.send(&slow_evidence).await));
    // The answer that was lost is given again: the same, so nothing is found.
    let challenge = liar.challenge().await;
    let evidence = liar.evidence(&challenge).await;
    let first = liar.send(&evidence).await.unwrap();
    let again = liar.send(&evidence).await.unwrap();
    assert_eq!(first.result, again.result);
    told.insert("Q14b", code(Ok(again)));
    // Two histories of one AK: one that was read before a reboot, told after it.
    let before = liar.challenge().await;
    let before = liar.evidence(&before).await;
    host.reboot();
    told.insert("Q8a", code(liar.lie(|lie| lie.boot_log = None).await));
    liar.lie(|_| ()).await.unwrap();
    told.insert("Q8b", code(liar.send(&before).await));
    let challenge: Challenge = liar.challenge().await;
    let mut evidence: Evidence = liar.evidence(&challenge).await;
    evidence.quote = liar.quote_by_another_key(&challenge).await;
    told.insert("Q11b", code(liar.send(&evidence).await));
}

/// Evidence in another's name, over a TLS key that nobody enrolled.
async fn stranger_posts(liar: &Liar, evidence: &Evidence) -> String {
    let key = touchstone_agent::tls::TlsKey::generate().unwrap();
    let client = Client::new(&liar.identity.server, &liar.identity.ca, &key).unwrap();
    match client
        .evidence(&serde_json::to_vec(evidence).unwrap())
        .await
    {
        Err(Error::Refused(problem)) => problem.code,
        other => panic!("{other:?}"),
    }
}

fn flip_last(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}
