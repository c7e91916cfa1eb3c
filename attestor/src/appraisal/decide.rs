//! A verified round within the group that it is committed with: whether it still holds, and what it writes.

use std::sync::Arc;
use std::time::Instant;

use touchstone_evidence::encoded::Few;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::wire::{RevokedLease, RoundAnswer, RuntimePosition};

use super::RoundError;
use super::basis::Basis;
use super::challenges::{Known, Open, next_challenge, open_challenge};
use super::verdict::Reached;
use super::verify::Verified;
use crate::audit::{Actor, Entry, Event};
use crate::logs::BootLogs;
use crate::metrics::Metrics;
use crate::store::{Asked, Found, Group, Held, RawEvidence, RoundRow, StoreError, Tx};
use crate::trust_index::TrustIndex;

/// A round that waits for its commit.
pub(crate) struct Round {
    pub(super) asked: Asked,
    /// What was held when it was verified, as it was read.
    pub(super) found: Found,
    /// The same, as what it says.
    pub(super) held: Arc<Held>,
    pub(super) verified: Verified,
    pub(super) logs: Arc<BootLogs>,
    pub(super) reached: Reached,
    /// Leases that the host is told are revoked.
    pub(super) revoked: Vec<RevokedLease>,
    /// The evidence exactly as it was received.
    pub(super) body: Arc<Vec<u8>>,
    /// When it was there.
    pub(super) begun: Instant,
}

/// What a round comes to if its group becomes durable.
pub(crate) enum Decided {
    /// The challenge was answered with the same evidence before.
    Again(String),
    Moved {
        answer: String,
        /// Index of its entry.
        order: u64,
        /// Index of the entry that says that the host proved another place than before, if it did.
        moved: Option<u64>,
    },
}

impl Decided {
    /// As it is sent.
    pub(super) fn answer(self) -> String {
        let (Self::Again(answer) | Self::Moved { answer, .. }) = self;
        answer
    }
}

impl Round {
    /// Whose it is, and which challenge it answers.
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The host that it moves.
    pub(crate) fn host(&self) -> &HostId {
        &self.verified.host
    }

    /// Decides upon what is `found` in the transaction of `group`, and adds to the group what is to be written.
    pub(crate) fn decide(
        &self,
        found: Option<Found>,
        group: &mut Group,
        now: i64,
    ) -> Result<Decided, RoundError> {
        let found = found.ok_or(RoundError::Overtaken)?;
        let unchanged = found == self.found;
        let held = match unchanged {
            true => Arc::clone(&self.held),
            false => Arc::new(found.held()?),
        };
        let evidence = &self.reached.evidence;
        if let Open::Answered(answer) =
            open_challenge(held.challenge.clone(), self.host(), evidence, now)?
        {
            return Ok(Decided::Again(answer));
        }
        let policy = group.policy_in_force();
        let same_policy = policy.is_none_or(|digest| *digest == self.reached.verdict.policy_digest);
        if !same_policy || !(unchanged || Basis::of(&held) == Basis::of(&self.held)) {
            return Err(RoundError::Overtaken);
        }
        self.check_newer(&held)?;
        let order = self.reached.entry.append_to(group)?;
        self.advance(order, group)?;
        let answer = self.answer(&held, group, now)?;
        group.answer(order, &self.asked.nonce, evidence, &answer);
        group.evidence(order, self.host().as_str(), now, &self.raw_evidence());
        let moved = self.note_move(&held, group, now)?;
        Ok(Decided::Moved {
            answer,
            order,
            moved,
        })
    }

    /// The evidence as it is kept. The boot log that a copy of the TPM sent is kept with it alone.
    fn raw_evidence(&self) -> RawEvidence<'_> {
        let log = self.verified.sent_boot_log.as_deref();
        let log = log.filter(|_| !self.verified.behind);
        let log = log.map(|log| (self.verified.boot_log_digest, log));
        RawEvidence::of(self.reached.evidence, &self.body, log)
    }

    fn check_newer(&self, held: &Held) -> Result<(), RoundError> {
        let last = held.record.last_quote;
        let newer = last.is_none_or(|last| self.verified.clock.is_after(&last));
        match newer || self.verified.behind {
            true => Ok(()),
            false => Err(RoundError::NotNewer),
        }
    }

    /// Moves the host to what the round says. The word of a copy of its TPM leaves it where it was, since the
    /// copy is behind: [`Round::write_apart`] takes the verdict away. `order`: index of the round's entry.
    fn advance(&self, order: u64, group: &mut Group) -> Result<(), RoundError> {
        let Verified { clock, boot, .. } = &self.verified;
        if self.verified.behind {
            return Ok(());
        }
        Ok(group.advance(RoundRow {
            host: self.host().as_str(),
            quote: clock,
            boot_log: &self.verified.boot_log_digest,
            runtime: self.verified.runtime.as_ref(),
            verdict: &self.reached.kept,
            standing: &self.reached.standing,
            entry: order,
            result: &self.reached.result,
            boot,
        })?)
    }

    /// Appends that the host proved another place than before, if it did. The word of a copy moves nothing.
    fn note_move(
        &self,
        held: &Held,
        group: &mut Group,
        now: i64,
    ) -> Result<Option<u64>, RoundError> {
        let place = self.verified.claims.place().proven();
        let place = place.filter(|_| !self.verified.behind);
        let (Some(place), Some(from)) = (place, held.tag_state.moved_from.as_ref()) else {
            return Ok(None);
        };
        if from == place.place() {
            return Ok(None);
        }
        let event = Event::HostMoved {
            host: self.host().clone(),
            from: from.clone(),
            to: place.place().clone(),
            serial: place.serial(),
        };
        tracing::warn!(host.id = %self.host(), "a host moved from {from} to {}", place.place());
        let entry = Entry::new(&event, &Actor::Attestor, now)?;
        Ok(Some(entry.append_to(group)?))
    }

    fn answer(&self, held: &Held, group: &mut Group, now: i64) -> Result<String, RoundError> {
        let Verified { clock, boot, .. } = &self.verified;
        let banks = boot.banks.as_ref();
        let known = Known {
            boot_log: banks.map(|_| self.verified.boot_log_digest),
            runtime: self.verified.runtime.as_ref().map(RuntimePosition::from),
        };
        let shown = match self.verified.behind {
            true => held.record.last_quote,
            false => Some(*clock),
        };
        let tag = held.tag.as_ref().map(|(_, tag)| tag.clone());
        let next = next_challenge(self.host(), shown, known, tag, now)?;
        group.challenge(&next.nonce, &next.stored)?;
        let answer = serde_json::to_string(&RoundAnswer {
            tier: self.reached.verdict.tier,
            findings: self.reached.verdict.findings.clone(),
            result: self.reached.result.clone(),
            entry: self.reached.verdict.entry,
            challenge: next.sent,
            revoked: Few(self.revoked.clone()),
        });
        Ok(answer.map_err(|_| StoreError::Malformed("answer"))?)
    }

    /// What few rounds write: the first ones of a boot or of a tag, those after leases were revoked, and those of a copied
    /// TPM.
    pub(crate) async fn write_apart(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let host = self.host();
        if self.verified.behind {
            let Reached { kept, result, .. } = &self.reached;
            tx.contradict_host(host, kept, result).await?;
            return tx.mark_copied(host).await;
        }
        if self.held.leases_to_tell && self.revoked.is_empty() {
            tx.settle_leases_to_tell(host).await?;
        }
        let proven = self.verified.claims.place().proven();
        if let Some(serial) = self.held.unproven_tag().filter(|_| proven.is_some()) {
            tx.mark_tag_proven(host, serial, self.verified.now).await?;
        }
        let log = self.verified.sent_boot_log.as_ref();
        let kept = self.verified.boot_log_is_kept && tx.forgets_nothing();
        match log.filter(|_| !kept) {
            Some(log) => tx.add_boot_log(&self.verified.boot_log_digest, log).await,
            None => Ok(()),
        }
    }

    /// Publishes the round, which is durable.
    pub(crate) fn publish(&self, order: u64, index: &TrustIndex, metrics: &Metrics, now: i64) {
        if self.verified.sent_boot_log.is_some() && !self.verified.behind {
            self.logs.note_kept(self.verified.boot_log_digest);
        }
        let verdict = &self.reached.verdict;
        let host = self.host();
        index.put_host(order, verdict.standing(host), verdict.entry, now);
        metrics.round(verdict.tier, self.begun.elapsed());
        tracing::debug!(
            host.id = %host,
            appraisal.tier = %verdict.tier,
            finding.code = verdict.findings.first().map(|finding| finding.code.as_str()),
            "appraised a round"
        );
    }
}
