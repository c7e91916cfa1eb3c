//! Challenges: how they are made, given out, and found again when they are answered.

use std::collections::HashSet;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::pcr::PcrSelection;
use touchstone_evidence::wire::{Challenge, RuntimePosition};

use super::{ATTEMPTS, RoundError, asked, end_of};
use crate::attestor::Attestor;
use crate::clock;
use crate::random::{self, NoRandomness};
use crate::store::{Found, Group, Held, QuoteClock, StoredChallenge, Tx};

/// Seconds for which a challenge may be answered. An agent holds the challenge of its last answer, so
/// this bounds its interval; a result expires by the challenge's issue time plus freshness anyway.
const CHALLENGE_SECONDS: i64 = 300;

/// Gives the host with this TLS key a new challenge.
pub(crate) async fn challenge(
    attestor: &Attestor,
    tls_key: &Sha256Digest,
) -> Result<Challenge, RoundError> {
    let asked = asked(tls_key, &[]);
    for _ in 1..ATTEMPTS {
        match attestor.commits.challenge(asked.clone()).await {
            Err(RoundError::Overtaken) => {}
            outcome => return outcome,
        }
        // Perhaps it was let in while it still was a host.
        if let Some(end) = end_of(attestor, &asked).await? {
            return Err(RoundError::Ended(end));
        }
    }
    attestor.commits.challenge(asked).await
}

pub(super) enum Open {
    Fresh(StoredChallenge),
    Answered(String),
}

pub(super) fn open_challenge(
    challenge: Option<StoredChallenge>,
    host: &HostId,
    evidence: &Sha256Digest,
    now: i64,
) -> Result<Open, RoundError> {
    let challenge = challenge
        .filter(|challenge| challenge.host == *host)
        .ok_or(RoundError::ChallengeUnknown)?;
    match challenge.answered {
        Some(answered) if answered.evidence != *evidence => Err(RoundError::ChallengeReplayed),
        Some(answered) => {
            let answer = answered.answer.ok_or(RoundError::ChallengeExpired)?;
            Ok(Open::Answered(answer))
        }
        None if now >= challenge.expires_at => Err(RoundError::ChallengeExpired),
        None => Ok(Open::Fresh(challenge)),
    }
}

/// What a host need not send again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) boot_log: Option<Sha256Digest>,
    pub(super) runtime: Option<RuntimePosition>,
}

/// A challenge as it is kept and as it is sent.
pub(super) struct Next {
    pub(super) nonce: [u8; 32],
    pub(super) stored: StoredChallenge,
    pub(super) sent: Challenge,
}

/// Bytes of a nonce that tell its time, so that the database has those of one time side by side. The others, 28, are
/// random.
const NONCE_TIME: usize = 4;

fn nonce(now: i64) -> Result<[u8; 32], NoRandomness> {
    let mut nonce: [u8; 32] = random::bytes()?;
    let seconds = u32::try_from(now).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(begin) = nonce.first_chunk_mut::<NONCE_TIME>() {
        *begin = seconds;
    }
    Ok(nonce)
}

/// Makes the next challenge of `host`, whose key has `shown` this much.
pub(super) fn next_challenge(
    host: &HostId,
    shown: Option<QuoteClock>,
    known: Known,
    tag: Option<Vec<u8>>,
    now: i64,
) -> Result<Next, RoundError> {
    let nonce = nonce(now)?;
    let stored = StoredChallenge {
        host: host.clone(),
        pcrs: PcrSelection::DEFAULT,
        floor: shown.map(|quote| quote.reading()).transpose()?,
        issued_at: now,
        expires_at: now.saturating_add(CHALLENGE_SECONDS),
        answered: None,
    };
    let sent = Challenge {
        nonce: Bytes(nonce.to_vec()),
        pcrs: stored.pcrs,
        expires_at: stored.expires_at,
        known_boot_log: known.boot_log,
        runtime: known.runtime,
        location_tag: tag.map(Bytes),
    };
    Ok(Next {
        nonce,
        stored,
        sent,
    })
}

/// Adds another challenge of a host to `group`. `found` is what is held of it in the group's transaction.
pub(crate) fn issue(
    found: Option<Found>,
    moved: &HashSet<HostId>,
    group: &mut Group,
    now: i64,
) -> Result<(HostId, Challenge), RoundError> {
    let Held {
        record, boot, tag, ..
    } = found.ok_or(RoundError::Overtaken)?.held()?;
    if moved.contains(&record.host) {
        return Err(RoundError::Overtaken);
    }
    // Without its banks a log is needed again.
    let proven = boot.is_some_and(|boot| boot.banks.is_some());
    let known = Known {
        boot_log: record.boot_log.filter(|_| proven),
        runtime: record.runtime.as_ref().map(RuntimePosition::from),
    };
    let tag = tag.map(|(_, tag)| tag);
    let next = next_challenge(&record.host, record.last_quote, known, tag, now)?;
    group.challenge(&next.nonce, &next.stored)?;
    Ok((record.host, next.sent))
}

/// The first challenge of a host that is enrolled within `tx`.
pub(crate) async fn first_challenge(tx: &mut Tx, host: &HostId) -> Result<Challenge, RoundError> {
    let last = tx.host(host).await?.and_then(|record| record.last_quote);
    let tag = tx.tag(host).await?.map(|(_, tag)| tag);
    let next = next_challenge(host, last, Known::default(), tag, clock::now())?;
    tx.add_challenge(&next.nonce, &next.stored).await?;
    Ok(next.sent)
}
