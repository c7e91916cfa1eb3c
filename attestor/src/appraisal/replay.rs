//! The last accepted round of a host, verified again from what was kept of it, by the same steps and into the
//! same proofs. What expires, and what was taken back since, is as of now.

use std::sync::Arc;

use serde::Deserialize;
use touchstone_evidence::claims::Claims;
use touchstone_evidence::continuity::Window;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::ima::ImaState;
use touchstone_evidence::location::{AuthorityKey, Place};
use touchstone_evidence::pcr::PcrSelection;
use touchstone_evidence::result::TrustTier;
use touchstone_evidence::transparency::LeafHash;
use touchstone_evidence::wire::Evidence;

use super::{RoundError, Verdict, stored_boot_log, verify};
use crate::attestor::Attestor;
use crate::store::{Asked, Boot, Held, KeptRound, QuoteClock, StoreError, StoredChallenge};

/// The entry of a round, as far as a later look at it needs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RoundEntry {
    /// When the evidence was there, seconds since 1970.
    pub(crate) time: i64,
    pub(crate) tier: TrustTier,
    pub(crate) findings: Vec<Finding>,
    pub(crate) place: Option<Place>,
    pub(crate) policy: String,
    pub(crate) policy_digest: Sha256Digest,
    evidence: Sha256Digest,
    boot_log: Sha256Digest,
    runtime: Option<ImaState>,
    challenged_at: i64,
    firmware_version: i64,
    reset_count: i64,
    restart_count: i64,
    clock: i64,
}

impl RoundEntry {
    /// Out of the bytes of the log.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(body).map_err(|_| StoreError::Malformed("audit entry"))
    }

    fn quote(&self) -> QuoteClock {
        QuoteClock {
            firmware_version: self.firmware_version,
            reset_count: self.reset_count,
            restart_count: self.restart_count,
            clock: self.clock,
        }
    }

    /// Whether `boot` is the one of this round.
    fn is_of(&self, boot: &Boot) -> bool {
        let counters = (boot.reset_count.into(), boot.restart_count.into());
        (self.reset_count, self.restart_count) == counters
    }

    fn same_boot(&self, other: &Self) -> bool {
        (self.reset_count, self.restart_count) == (other.reset_count, other.restart_count)
    }

    /// The boot as this round left it.
    fn boot(&self, banks: Option<String>, copied: bool) -> Result<Boot, StoreError> {
        let counter = |value: i64| u32::try_from(value).map_err(|_| StoreError::Malformed("boot"));
        Ok(Boot {
            reset_count: counter(self.reset_count)?,
            restart_count: counter(self.restart_count)?,
            window: Window {
                challenged_at: self.challenged_at,
                received_at: self.time,
            },
            banks,
            copied,
        })
    }
}

/// What the last round proves today.
pub(crate) struct Replayed {
    pub(crate) claims: Claims,
    /// SHA-256 of its evidence.
    pub(crate) evidence: Sha256Digest,
    /// When that was there, seconds since 1970.
    pub(crate) at: i64,
    /// Leaf hash of its entry.
    pub(crate) entry: Sha256Digest,
    /// When the challenge of the round before was issued, seconds since 1970.
    pub(crate) challenged_before: Option<i64>,
}

/// Why a host cannot be judged by what was kept of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReplayed {
    #[error("it has not attested yet")]
    NoRound,
    #[error("its last round is from before its evidence was kept for this; the next round will do")]
    NotKept,
    #[error("its verdict was taken away since ({0}); its next round will do")]
    Voided(String),
    #[error("a copy of its TPM answered in its place; no policy changes that")]
    Copied,
    #[error("its kept evidence does not verify any more ({0})")]
    Refused(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RoundError> for NotReplayed {
    fn from(error: RoundError) -> Self {
        match error {
            RoundError::Store(error) => Self::Store(error),
            error => Self::Refused(error.code()),
        }
    }
}

/// What the last round of a host proves at `now`, seconds since 1970. `verdict`: the one of `kept`, as it was read.
pub(crate) async fn replay(
    attestor: &Attestor,
    kept: &KeptRound,
    verdict: Option<&Verdict>,
    now: i64,
) -> Result<Replayed, NotReplayed> {
    check(kept, verdict)?;
    let mut tx = attestor.store.read().await?;
    let missing = StoreError::Malformed("audit log: entries are missing");
    let index = kept.entry.ok_or(NotReplayed::NotKept)?;
    let last = tx.entry(index).await?.ok_or(missing)?;
    let entry = LeafHash::of(&last).digest();
    let last = RoundEntry::parse(&last)?;
    let before = match kept.entry_before {
        Some(index) => tx.entry(index).await?,
        None => None,
    };
    let before = before.as_deref().map(RoundEntry::parse).transpose()?;
    let body = tx.evidence(index, &last.evidence).await?;
    let body = body.ok_or(NotReplayed::NotKept)?;
    drop(tx);
    let evidence: Evidence =
        serde_json::from_slice(&body).map_err(|_| StoreError::Malformed("evidence"))?;
    let asked = Asked {
        tls_key: kept.tls_key.0,
        nonce: evidence.nonce.to_vec(),
    };
    let seen = attestor.store.look_up(std::slice::from_ref(&asked)).await?;
    let found = seen.found.into_iter().next().flatten();
    let held = found.ok_or(NotReplayed::NoRound)?.held()?;
    let inputs = verify::Inputs {
        stored_boot_log: stored_boot_log(attestor, &evidence).await?,
        challenge: challenge(&held, &last),
        held: Arc::new(as_it_was(held, &last, before.as_ref())?),
        evidence: Arc::new(evidence),
        logs: Arc::clone(&attestor.logs),
        authorities: seen
            .authorities
            .iter()
            .filter_map(AuthorityKey::from_bytes)
            .collect(),
        received_at: last.time,
        now,
    };
    let verified = tokio::task::spawn_blocking(move || verify::verify(inputs)).await;
    let verified = verified.map_err(|_| RoundError::Cancelled)??;
    Ok(Replayed {
        claims: verified.claims,
        evidence: last.evidence,
        at: last.time,
        entry,
        challenged_before: before.map(|before| before.challenged_at),
    })
}

/// What was said since the round counts for more than the round.
fn check(kept: &KeptRound, verdict: Option<&Verdict>) -> Result<(), NotReplayed> {
    let verdict = verdict.ok_or(NotReplayed::NoRound)?;
    let said = |code| verdict.findings.iter().any(|finding| finding.code == code);
    if said("tpm-cloned") {
        return Err(NotReplayed::Copied);
    }
    if kept.voided {
        let why = verdict.findings.first();
        return Err(NotReplayed::Voided(
            why.map(|finding| finding.code.clone()).unwrap_or_default(),
        ));
    }
    Ok(())
}

/// The challenge that was answered. What was kept of it is forgotten after a while; no other selection is ever
/// asked for.
fn challenge(held: &Held, last: &RoundEntry) -> StoredChallenge {
    held.challenge.clone().unwrap_or_else(|| StoredChallenge {
        host: held.record.host.clone(),
        pcrs: PcrSelection::DEFAULT,
        floor: None,
        issued_at: last.challenged_at,
        expires_at: last.time,
        answered: None,
    })
}

/// What is held of the host, as it was when the round came: the round before had left it there.
fn as_it_was(
    mut held: Held,
    last: &RoundEntry,
    before: Option<&RoundEntry>,
) -> Result<Held, StoreError> {
    let boot = held.boot.take();
    let copied = boot.as_ref().is_some_and(|boot| boot.copied);
    // Those of another boot than the round's prove nothing of it: the host may have gone on since.
    let banks = boot
        .filter(|boot| last.is_of(boot))
        .and_then(|boot| boot.banks);
    held.boot = match before {
        Some(before) => {
            let banks = banks.filter(|_| before.same_boot(last));
            Some(before.boot(banks, copied)?)
        }
        None => None,
    };
    held.record.last_quote = before.map(RoundEntry::quote);
    held.record.boot_log = before.map(|before| before.boot_log);
    held.record.runtime = before.and_then(|before| before.runtime);
    Ok(held)
}
