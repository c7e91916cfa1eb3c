//! A round: challenge, evidence, verdict, signed result (docs/architecture.md, A round).

mod banks;
mod basis;
mod challenges;
mod committed;
mod decide;
mod error;
mod node_token;
mod release_key;
mod replay;
mod runtime;
mod verdict;
mod verify;

use std::sync::Arc;
use std::time::Instant;

use touchstone_evidence::boot_log::BootLog;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::wire::{Evidence, REVOKED_MAX, RevokedLease};

pub(crate) use challenges::{challenge, first_challenge, issue};
pub(crate) use committed::CommittedRound;
pub(crate) use decide::{Decided, Round};
pub(crate) use error::RoundError;
pub(crate) use node_token::SignedToken;
pub(crate) use replay::{NotReplayed, Replayed, RoundEntry, replay};
pub(crate) use verdict::{Verdict, VerdictBoot};

use challenges::{Open, open_challenge};
use committed::Pending;
use node_token::PendingToken;

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::store::{Asked, End, Held, StoreError};

/// How often a round is verified anew because another round of the same host was committed meanwhile.
const ATTEMPTS: usize = 3;

/// What came of a round that was accepted.
pub(crate) struct Accepted {
    /// As it is sent.
    pub(crate) answer: String,
    /// What a release rests on; `None` where it carried no release key, or was answered before.
    pub(crate) committed: Option<CommittedRound>,
    /// The token that the host's TPM signed for; `None` where it signed for none, or the round moved nothing.
    pub(crate) node_token: Option<SignedToken>,
}

/// Appraises one round of the host with this TLS key. `body` is the evidence exactly as it was received.
///
/// The same evidence for the same challenge gets the stored answer.
pub(crate) async fn round(
    attestor: &Attestor,
    tls_key: &Sha256Digest,
    evidence: Evidence,
    body: Vec<u8>,
) -> Result<Accepted, RoundError> {
    let received = Received {
        asked: asked(tls_key, &evidence.nonce),
        digest: Sha256Digest::of(&body),
        evidence: Arc::new(evidence),
        body: Arc::new(body),
        begun: Instant::now(),
    };
    for _ in 1..ATTEMPTS {
        match attempt(attestor, &received).await {
            Err(RoundError::Overtaken) => {}
            outcome => return outcome,
        }
    }
    attempt(attestor, &received).await
}

fn asked(tls_key: &Sha256Digest, nonce: &[u8]) -> Asked {
    Asked {
        tls_key: tls_key.0,
        nonce: nonce.to_vec(),
    }
}

/// A round as it came.
struct Received {
    asked: Asked,
    evidence: Arc<Evidence>,
    body: Arc<Vec<u8>>,
    digest: Sha256Digest,
    begun: Instant,
}

/// The round against what is held about the host now. What was held when its caller was let in does not
/// count: the body may have come much later.
async fn attempt(attestor: &Attestor, received: &Received) -> Result<Accepted, RoundError> {
    let seen = attestor.commits.look_up(received.asked.clone()).await?;
    let Some(found) = seen.found else {
        let end = end_of(attestor, &received.asked).await?;
        return Err(end.map_or(StoreError::Malformed("identity").into(), RoundError::Ended));
    };
    let held = Arc::new(found.held()?);
    let now = clock::now();
    let challenge = held.challenge.clone();
    let challenge = match open_challenge(challenge, &held.record.host, &received.digest, now)? {
        Open::Fresh(challenge) => challenge,
        Open::Answered(answer) => {
            return Ok(Accepted {
                answer,
                committed: None,
                node_token: None,
            });
        }
    };
    let inputs = verify::Inputs {
        stored_boot_log: stored_boot_log(attestor, &received.evidence).await?,
        held: Arc::clone(&held),
        evidence: Arc::clone(&received.evidence),
        challenge,
        logs: Arc::clone(&attestor.logs),
        authorities: seen.authorities,
        received_at: now,
        now,
    };
    let verified = verified(inputs).await?;
    let policies = attestor.index.policies();
    let appraisal = touchstone_policies::appraise::appraise(&policies, &verified.claims);
    let digest = received.digest;
    let reached = verdict::reach(attestor, &policies.digest, &verified, appraisal, digest)?;
    let revoked = revoked(attestor, &held).await?;
    let node_token = PendingToken::of(&received.evidence, &verified, &received.asked);
    let pending = Pending::of(&verified, &reached, &policies, !revoked.is_empty());
    let round = Round {
        asked: received.asked.clone(),
        found,
        held,
        verified,
        logs: Arc::clone(&attestor.logs),
        reached,
        revoked,
        body: Arc::clone(&received.body),
        begun: received.begun,
    };
    let decided = attestor.commits.round(round).await?;
    Ok(Accepted {
        committed: pending.and_then(|pending| pending.committed(&decided)),
        node_token: node_token.and_then(|pending| pending.committed(&decided)),
        answer: decided.answer(),
    })
}

/// Which leases the host is to be told are revoked. Hardly ever is there anything to look for.
async fn revoked(attestor: &Attestor, held: &Held) -> Result<Vec<RevokedLease>, StoreError> {
    if !held.leases_to_tell {
        return Ok(Vec::new());
    }
    let most = i64::try_from(REVOKED_MAX).unwrap_or(i64::MAX);
    let mut tx = attestor.store.read().await?;
    tx.leases_to_tell(&held.record.host, most).await
}

/// How the identity with the TLS key of who asks ended.
async fn end_of(attestor: &Attestor, asked: &Asked) -> Result<Option<End>, StoreError> {
    let mut tx = attestor.store.read().await?;
    tx.end_of(&Sha256Digest(asked.tls_key)).await
}

/// The log that `evidence` names and did not bring, parsed; `None` if it brought one, or nobody proved it.
async fn stored_boot_log(
    attestor: &Attestor,
    evidence: &Evidence,
) -> Result<Option<Arc<BootLog>>, RoundError> {
    let digest = evidence.boot_log_digest;
    if evidence.boot_log.is_some() {
        return Ok(None);
    }
    if let Some(log) = attestor.logs.parsed(&digest) {
        return Ok(Some(log));
    }
    let Some(bytes) = attestor.store.read().await?.boot_log(&digest).await? else {
        return Ok(None);
    };
    let parsed = tokio::task::spawn_blocking(move || BootLog::parse(&bytes)).await;
    let log = parsed.map_err(|_| RoundError::Cancelled)?;
    let log = Arc::new(log.map_err(|_| StoreError::Malformed("boot log"))?);
    attestor.logs.keep(digest, Arc::clone(&log));
    Ok(Some(log))
}

/// Most bytes of a runtime list that are replayed, and of a boot log that was parsed before that are hashed, where other
/// requests wait: some tens of microseconds' worth.
const AT_ONCE_MAX: usize = 16 << 10;
const HASHED_AT_ONCE_MAX: usize = 64 << 10;

/// Verifies. Long work goes to a thread of its own; two signatures and a few entries do not pay for the way.
async fn verified(inputs: verify::Inputs) -> Result<verify::Verified, RoundError> {
    let evidence = &inputs.evidence;
    let entries = evidence
        .runtime
        .as_ref()
        .map_or(0, |part| part.entries.len());
    let known = evidence.boot_log.as_ref().is_none_or(|log| {
        log.len() <= HASHED_AT_ONCE_MAX && inputs.logs.parsed(&evidence.boot_log_digest).is_some()
    });
    if known && entries <= AT_ONCE_MAX {
        return verify::verify(inputs);
    }
    tokio::task::spawn_blocking(move || verify::verify(inputs))
        .await
        .map_err(|_| RoundError::Cancelled)?
}

/// The entry of an appraisal.
fn entry(event: Event, now: i64) -> Result<Entry, StoreError> {
    Entry::new(&event, &Actor::Host, now)
}
