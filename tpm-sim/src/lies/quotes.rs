//! Q: lies about the quote and the keys that make it.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::PcrSelection;

use super::liar::{accepted, code};
use super::{Enrolled, Error, Liar, Machine, Result, Told};

pub(super) const TOLD: &[&str] = &[
    "Q1a", "Q1b", "Q1c", "Q1d", "Q2a", "Q3a", "Q3b", "Q3c", "Q3d", "Q3e", "Q3g", "Q4", "Q5a",
    "Q5b", "Q5c", "Q5e", "Q6a", "Q6b", "Q8a", "Q8b", "Q9a", "Q9b", "Q11b", "Q12a", "Q12b", "Q14a",
    "Q14b", "Q15",
];

/// A lost answer that was asked for again was not the stored one.
const OTHER_ANSWER: &str = "another-answer";

pub(super) async fn tell(scene: &Enrolled<'_>) -> Result<Told> {
    let Enrolled { liar, other, .. } = *scene;
    let mut told = Told::new();
    signatures(liar, &mut told).await?;
    nonces(liar, &mut told).await?;
    selections(liar, &mut told).await?;

    // What is relayed, and what is posted in another's name.
    let theirs = other.challenge().await?;
    let relayed = other.evidence(&theirs).await?;
    told.insert("Q3a", code(&liar.send(&relayed).await?));
    let borrowed = liar.lie(|lie| lie.quote = relayed.quote.clone()).await?;
    told.insert("Q12a", code(&borrowed));
    told.insert("Q15", code(&liar.send_as_stranger(&relayed).await?));

    order(liar, scene.machine, &mut told).await?;
    Ok(told)
}

async fn signatures(liar: &Liar, told: &mut Told) -> Result<()> {
    let flipped = liar
        .lie(|lie| flip_last(&mut lie.quote.signature.0))
        .await?;
    told.insert("Q1a", code(&flipped));
    let empty = liar.lie(|lie| lie.quote.signature.0.clear()).await?;
    told.insert("Q1b", code(&empty));
    let challenge = liar.challenge().await?;
    let mut evidence = liar.evidence(&challenge).await?;
    evidence.quote = liar.quote_by_another_key(&challenge).await?;
    told.insert("Q1c", code(&liar.send(&evidence).await?));
    let other_bytes = liar.lie(|lie| flip_last(&mut lie.quote.attest.0)).await?;
    told.insert("Q1d", code(&other_bytes));
    let certified = liar.lie(|lie| lie.quote = lie.location.clone().unwrap_or(lie.quote.clone()));
    let certified = certified.await?;
    told.insert("Q2a", code(&certified));
    // The bytes that were signed, and one more: another message.
    let longer = liar.lie(|lie| lie.quote.attest.0.push(0)).await?;
    told.insert("Q9a", code(&longer));
    let cut = liar.lie(|lie| lie.quote.signature.0.truncate(71)).await?;
    told.insert("Q9b", code(&cut));
    Ok(())
}

async fn nonces(liar: &Liar, told: &mut Told) -> Result<()> {
    let earlier = liar.challenge().await?;
    let stale = liar.evidence(&earlier).await?;
    let relabelled = liar.lie(|lie| lie.quote = stale.quote.clone()).await?;
    told.insert("Q3b", code(&relabelled));
    let invented = liar.lie(|lie| lie.nonce.0[0] ^= 1).await?;
    told.insert("Q3c", code(&invented));
    let truncated = liar.lie(|lie| lie.nonce.0.truncate(31)).await?;
    told.insert("Q3d", code(&truncated));
    let right_prefix = liar.lie(|lie| flip_last(&mut lie.nonce.0)).await?;
    told.insert("Q3g", code(&right_prefix));
    // Another encoding of the same bytes is not the canonical one.
    let challenge = liar.challenge().await?;
    let evidence = liar.evidence(&challenge).await?;
    let mut json = serde_json::to_value(&evidence)?;
    let nonce = format!("{}=", json["nonce"].as_str().unwrap_or_default());
    json["nonce"] = nonce.into();
    let padded = liar.send_bytes(&serde_json::to_vec(&json)?).await;
    told.insert("Q3e", code(&padded));
    let boot = liar.lie(|lie| lie.boot_id.0[0] ^= 1).await?;
    told.insert("Q12b", code(&boot));
    let challenge = liar.challenge().await?;
    let first = liar.evidence(&challenge).await?;
    accepted(liar.send(&first).await?)?;
    let second = liar.evidence(&challenge).await?;
    told.insert("Q4", code(&liar.send(&second).await?));
    Ok(())
}

async fn selections(liar: &Liar, told: &mut Told) -> Result<()> {
    for (id, pcrs) in [
        ("Q5a", (0..8).collect::<Vec<u8>>()),
        ("Q5b", (0..17).collect()),
    ] {
        let challenge = liar.challenge().await?;
        let selection = select(pcrs)?;
        let evidence = liar.evidence_over(&challenge, selection).await?;
        told.insert(id, code(&liar.send(&evidence).await?));
    }
    // PCR 16, which anybody may reset, presented as PCR 8.
    let challenge = liar.challenge().await?;
    let selection = select((0..8).chain(9..17).collect())?;
    let mut evidence = liar.evidence_over(&challenge, selection).await?;
    let sixteen = evidence.pcrs.0.remove(&16);
    evidence.pcrs.0.insert(8, sixteen.unwrap_or_default());
    told.insert("Q5c", code(&liar.send(&evidence).await?));
    let reordered = liar.lie(|lie| {
        let values: Vec<_> = lie.pcrs.0.values().rev().copied().collect();
        for (value, other) in lie.pcrs.0.values_mut().zip(values) {
            *value = other;
        }
    });
    told.insert("Q5e", code(&reordered.await?));
    let wrong = liar
        .lie(|lie| {
            lie.pcrs.0.insert(8, Sha256Digest::ZERO);
        })
        .await?;
    told.insert("Q6a", code(&wrong));
    let unselected = liar
        .lie(|lie| {
            lie.pcrs.0.insert(23, Sha256Digest::ZERO);
        })
        .await?;
    told.insert("Q6b", code(&unselected));
    Ok(())
}

async fn order(liar: &Liar, machine: Machine<'_>, told: &mut Told) -> Result<()> {
    let slow = liar.challenge().await?;
    let slow_evidence = liar.evidence(&slow).await?;
    accepted(liar.lie(|_| ()).await?)?;
    told.insert("Q14a", code(&liar.send(&slow_evidence).await?));
    // The answer that was lost is given again: the same, so nothing is found.
    let challenge = liar.challenge().await?;
    let evidence = liar.evidence(&challenge).await?;
    let first = accepted(liar.send(&evidence).await?)?;
    let again = liar.send(&evidence).await?;
    let same = again
        .as_ref()
        .is_ok_and(|again| again.result == first.result);
    told.insert(
        "Q14b",
        if same {
            code(&again)
        } else {
            OTHER_ANSWER.to_owned()
        },
    );
    // Two histories of one AK: one that was read before a reboot, told after it.
    let before = liar.challenge().await?;
    let before = liar.evidence(&before).await?;
    machine.reboot()?;
    told.insert("Q8a", code(&liar.lie(|lie| lie.boot_log = None).await?));
    accepted(liar.lie(|_| ()).await?)?;
    told.insert("Q8b", code(&liar.send(&before).await?));
    let challenge = liar.challenge().await?;
    let mut evidence = liar.evidence(&challenge).await?;
    evidence.quote = liar.quote_by_another_key(&challenge).await?;
    told.insert("Q11b", code(&liar.send(&evidence).await?));
    Ok(())
}

fn select(pcrs: Vec<u8>) -> Result<PcrSelection> {
    PcrSelection::try_from(pcrs).map_err(|_| Error::Scene("a selection names each PCR once"))
}

fn flip_last(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}
