//! A round: challenge, evidence, verdict, signed result (docs/architecture.md, A round).

mod banks;
mod basis;
mod runtime;
mod verdict;
mod verify;

use std::sync::Arc;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::pcr::PcrSelection;
use touchstone_evidence::quote::NotAuthentic;
use touchstone_evidence::wire::{Challenge, Evidence, RoundAnswer, RuntimePosition};

pub(crate) use verdict::Verdict;

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::random::{self, NoRandomness};
use crate::store::{Advance, End, HostRecord, StoreError, StoredChallenge, Tx};

/// Seconds for which a challenge may be answered. An agent holds the challenge of its last answer, so
/// this bounds its interval; a result expires by the challenge's issue time plus freshness anyway.
const CHALLENGE_SECONDS: i64 = 300;
/// How often a round is verified anew because another round of the same host was committed meanwhile.
const ATTEMPTS: usize = 3;
/// Seconds for which answers are kept for hosts that lost them.
const ANSWER_SECONDS: i64 = 3600;

/// Why a round was refused. None of these changes what is held about the host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoundError {
    #[error("no such challenge was given to this host; ask for a new one")]
    ChallengeUnknown,
    #[error("the challenge has expired; ask for a new one")]
    ChallengeExpired,
    #[error("the challenge was answered with other evidence before; ask for a new one")]
    ChallengeReplayed,
    #[error("the whole boot log is needed; send it with the evidence")]
    BootLogRequired,
    #[error("the evidence proves nothing: {0}")]
    NotAuthentic(#[from] NotAuthentic),
    #[error("the quote is not newer than the last accepted one")]
    NotNewer,
    #[error("the identity that says so has ended: {}", .0.code())]
    Ended(End),
    #[error("other rounds of this host were accepted meanwhile; ask for a new challenge")]
    Overtaken,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the work was cut off")]
    Cancelled,
}

impl RoundError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::ChallengeUnknown => "challenge-unknown",
            Self::ChallengeExpired => "challenge-expired",
            Self::ChallengeReplayed => "challenge-replayed",
            Self::BootLogRequired => "boot-log-required",
            Self::NotAuthentic(error) => error.code(),
            Self::NotNewer => "quote-not-newer",
            Self::Ended(end) => end.code(),
            Self::Overtaken => "round-overtaken",
            Self::Store(_) | Self::Randomness(_) | Self::Cancelled => "internal",
        }
    }
}

/// Gives `caller` a new challenge.
pub(crate) async fn challenge(
    attestor: &Attestor,
    caller: &HostRecord,
) -> Result<Challenge, RoundError> {
    let host = &caller.host;
    let mut tx = attestor.store.write().await?;
    let record = living(&mut tx, caller).await?;
    // Without its banks a log is needed again.
    let proven = tx
        .boot(host)
        .await?
        .is_some_and(|boot| boot.banks.is_some());
    let known = Known {
        boot_log: record.boot_log.filter(|_| proven),
        runtime: record.runtime.as_ref().map(RuntimePosition::from),
    };
    let challenge = issue_challenge(&mut tx, host, known).await?;
    tx.commit().await?;
    Ok(challenge)
}

/// Appraises one round of `caller`. `body` is the evidence exactly as it was received.
///
/// The same evidence for the same challenge gets the stored answer.
pub(crate) async fn round(
    attestor: &Attestor,
    caller: HostRecord,
    evidence: Evidence,
    body: &[u8],
) -> Result<String, RoundError> {
    let evidence = Arc::new(evidence);
    for _ in 1..ATTEMPTS {
        match attempt(attestor, &caller, &evidence, body).await {
            Err(RoundError::Overtaken) => {}
            outcome => return outcome,
        }
    }
    attempt(attestor, &caller, &evidence, body).await
}

/// The round against what is held about the host now. What was held when its caller was let in does not
/// count: the body may have come much later.
async fn attempt(
    attestor: &Attestor,
    caller: &HostRecord,
    evidence: &Arc<Evidence>,
    body: &[u8],
) -> Result<String, RoundError> {
    let digest = Sha256Digest::of(body);
    let nonce = &evidence.nonce;
    let mut tx = attestor.store.read().await?;
    let record = living(&mut tx, caller).await?;
    let challenge = match open_challenge(&mut tx, &record.host, nonce, &digest).await? {
        Open::Fresh(challenge) => challenge,
        Open::Answered(answer) => return Ok(answer),
    };
    let inputs = verify::gather(
        &mut tx,
        Arc::clone(&attestor.revoked_tags),
        record,
        Arc::clone(evidence),
        challenge,
    )
    .await?;
    drop(tx);

    let policies = attestor.index.policies();
    let verified = tokio::task::spawn_blocking(move || verify::verify(inputs))
        .await
        .map_err(|_| RoundError::Cancelled)??;
    let appraisal = touchstone_policies::appraise::appraise(&policies, &verified.claims);
    let verdict = verdict::reach(attestor, &policies.digest, &verified, appraisal, digest)?;
    commit(attestor, &verified, &verdict, nonce, body).await
}

/// What is held about `caller` now. Its identity may have ended since it was let in, and the name may have
/// another TPM by now.
async fn living(tx: &mut Tx, caller: &HostRecord) -> Result<HostRecord, RoundError> {
    let key = &caller.identity.tls_key;
    let held = tx.host_by_tls_key(key).await?;
    match held.filter(|held| held.identity.has_keys_of(&caller.identity)) {
        Some(held) => Ok(held),
        None => Err(match tx.end_of(key).await? {
            Some(end) => RoundError::Ended(end),
            None => StoreError::Malformed("identity").into(),
        }),
    }
}

enum Open {
    Fresh(StoredChallenge),
    Answered(String),
}

async fn open_challenge(
    tx: &mut Tx,
    host: &HostId,
    nonce: &[u8],
    evidence: &Sha256Digest,
) -> Result<Open, RoundError> {
    let challenge = tx
        .challenge(nonce)
        .await?
        .filter(|challenge| challenge.host == *host)
        .ok_or(RoundError::ChallengeUnknown)?;
    match challenge.answered {
        Some((answered, answer)) if answered == *evidence => Ok(Open::Answered(answer)),
        Some(_) => Err(RoundError::ChallengeReplayed),
        None if clock::now() >= challenge.expires_at => Err(RoundError::ChallengeExpired),
        None => Ok(Open::Fresh(challenge)),
    }
}

/// One transaction: consume the challenge, move the host forward, append the entry, keep the
/// evidence, issue the next challenge. Then publish, then answer.
async fn commit(
    attestor: &Attestor,
    verified: &verify::Verified,
    reached: &verdict::Reached,
    nonce: &[u8],
    body: &[u8],
) -> Result<String, RoundError> {
    let host = &verified.host;
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    verified.basis.still_holds(&mut tx, host).await?;
    // Another request with this challenge may have been faster: the same evidence gets its answer.
    if let Open::Answered(answer) = open_challenge(&mut tx, host, nonce, &reached.evidence).await? {
        return Ok(answer);
    }
    keep(&mut tx, verified, reached).await?;
    let banks = verified.boot.banks.as_ref();
    let known = Known {
        boot_log: banks.map(|_| verified.boot_log_digest),
        runtime: verified.runtime.as_ref().map(RuntimePosition::from),
    };
    let next = issue_challenge(&mut tx, host, known).await?;
    let answer = serde_json::to_string(&RoundAnswer {
        tier: reached.verdict.tier,
        findings: reached.verdict.findings.clone(),
        result: reached.result.clone(),
        entry: reached.verdict.entry,
        challenge: next,
    })
    .map_err(|_| StoreError::Malformed("answer"))?;
    if !tx
        .consume_challenge(nonce, &reached.evidence, &answer)
        .await?
    {
        return Err(RoundError::ChallengeReplayed);
    }
    tx.add_evidence(&reached.evidence, host, now, body).await?;
    tx.forget_challenges(now.saturating_sub(ANSWER_SECONDS))
        .await?;
    let order = reached.entry.append(&mut tx).await?;
    // COMMIT POINT: from here on the verdict stands, whether or not the answer arrives.
    tx.commit().await?;
    let standing = reached.verdict.standing(host);
    attestor
        .index
        .put_host(order, standing, reached.verdict.entry, now);
    tracing::info!(
        host.id = %host,
        appraisal.tier = %reached.verdict.tier,
        finding.code = reached.verdict.findings.first().map(|finding| finding.code.as_str()),
        "appraised a round"
    );
    Ok(answer)
}

/// Moves the host to what the round says. The word of a copy of its TPM takes the verdict away and leaves
/// the rest where it was: the copy is behind.
async fn keep(
    tx: &mut Tx,
    verified: &verify::Verified,
    reached: &verdict::Reached,
) -> Result<(), RoundError> {
    let host = &verified.host;
    let verdict = reached.verdict.to_json()?;
    if verified.behind {
        tx.contradict_host(host, &verdict, &reached.result).await?;
        return Ok(tx.mark_copied(host).await?);
    }
    let advance = Advance {
        quote: &verified.clock,
        boot_log: &verified.boot_log_digest,
        runtime: verified.runtime.as_ref(),
        verdict: &verdict,
        result: &reached.result,
    };
    if !tx.advance_host(host, advance).await? {
        return Err(RoundError::NotNewer);
    }
    tx.put_boot(host, &verified.boot).await?;
    if let Some(body) = &verified.new_boot_log {
        tx.add_boot_log(&verified.boot_log_digest, body).await?;
    }
    Ok(())
}

/// What a host need not send again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    boot_log: Option<Sha256Digest>,
    runtime: Option<RuntimePosition>,
}

/// Makes and keeps the next challenge of `host`.
pub(crate) async fn issue_challenge(
    tx: &mut Tx,
    host: &HostId,
    known: Known,
) -> Result<Challenge, RoundError> {
    let now = clock::now();
    let nonce: [u8; 32] = random::bytes()?;
    let last = tx.host(host).await?.and_then(|record| record.last_quote);
    let stored = StoredChallenge {
        host: host.clone(),
        pcrs: PcrSelection::DEFAULT,
        floor: last.map(|quote| quote.reading()).transpose()?,
        issued_at: now,
        expires_at: now.saturating_add(CHALLENGE_SECONDS),
        answered: None,
    };
    tx.add_challenge(&nonce, &stored).await?;
    Ok(Challenge {
        nonce: Bytes(nonce.to_vec()),
        pcrs: stored.pcrs,
        expires_at: stored.expires_at,
        known_boot_log: known.boot_log,
        runtime: known.runtime,
        location_tag: tx.tag(host).await?.map(|(_, tag)| Bytes(tag)),
    })
}

/// The entry of an appraisal.
fn entry(event: Event, now: i64) -> Result<Entry, StoreError> {
    Entry::new(&event, Actor::Host, now)
}
