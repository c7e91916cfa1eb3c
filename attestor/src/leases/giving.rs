//! Giving leases, many at once: each with its entry, in one transaction with whatever else waits, and only where what it
//! rests on still holds there. An answer waits for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use touchstone_evidence::digest::Sha256Digest;

use crate::appraisal::RoundError;
use crate::audit::Entry;
use crate::metrics::Metrics;
use crate::store::{Claim, Grounds, Group, KeyState, NewLease, Store, StoreError, Tx};
use crate::trust_index::TrustIndex;

/// Most leases in one transaction; a later one waits for the next.
const GROUP_MAX: usize = 256;
/// Most that wait: beyond them the caller is told to come later.
const WAITING_MAX: usize = 4096;

/// Why a lease was not given. Nothing of it happened.
#[derive(Debug)]
pub(crate) enum NotGiven {
    /// The host may not have the key.
    Revoked,
    /// The key is used for nothing any more.
    Inactive(KeyState),
    /// What the round established may be over, or it could not be written.
    Round(RoundError),
}

impl From<StoreError> for NotGiven {
    fn from(error: StoreError) -> Self {
        Self::Round(error.into())
    }
}

/// What a round was good enough for.
pub(crate) struct Wanted {
    pub(crate) claim: Claim,
    pub(crate) entry: Entry,
    /// `None`: for a data key. What that opens is on no disk, so nothing of it is to be purged.
    pub(crate) lease: Option<NewLease>,
    /// Digest of the policies that said so.
    pub(crate) policies: Sha256Digest,
}

struct Job {
    wanted: Wanted,
    reply: oneshot::Sender<Result<(), NotGiven>>,
}

/// Hands leases to the one task that gives them.
pub(crate) struct Giving(mpsc::Sender<Job>);

impl Giving {
    /// Starts the task. It ends with the last handle.
    pub(crate) fn start(store: Store, index: Arc<TrustIndex>, metrics: Arc<Metrics>) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let giver = Giver {
            store,
            index,
            metrics,
        };
        tokio::spawn(giver.run(waiting));
        Self(sender)
    }

    /// Gives a lease: it is kept with its entry, or neither is.
    pub(crate) async fn give(&self, wanted: Wanted) -> Result<(), NotGiven> {
        let (reply, outcome) = oneshot::channel();
        let sent = self.0.try_send(Job { wanted, reply });
        sent.map_err(|_| NotGiven::Round(RoundError::Busy))?;
        let outcome = outcome.await;
        outcome.map_err(|_| NotGiven::Round(RoundError::Cancelled))?
    }
}

struct Giver {
    store: Store,
    index: Arc<TrustIndex>,
    metrics: Arc<Metrics>,
}

/// Of each lease: the index of its entry, or why there is none.
type Outcomes = Vec<Result<u64, NotGiven>>;

impl Giver {
    async fn run(self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(GROUP_MAX);
        while waiting.recv_many(&mut jobs, GROUP_MAX).await > 0 {
            self.give(std::mem::take(&mut jobs)).await;
        }
    }

    /// Gives `jobs` together; if that fails, one by one, so that none fails for another.
    async fn give(&self, jobs: Vec<Job>) {
        match self.write(&jobs).await {
            Ok(outcomes) => self.conclude(jobs, outcomes),
            Err(error) if jobs.len() == 1 => self.conclude(jobs, vec![Err(error.into())]),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "{} leases were not given together; each is tried by itself",
                    jobs.len()
                );
                for job in jobs {
                    let outcome = self.write(std::slice::from_ref(&job)).await;
                    let outcome = outcome.unwrap_or_else(|error| vec![Err(error.into())]);
                    self.conclude(vec![job], outcome);
                }
            }
        }
    }

    async fn write(&self, jobs: &[Job]) -> Result<Outcomes, StoreError> {
        let outcome = self.transact(jobs).await;
        if let Err(StoreError::Database(_)) = outcome {
            self.store.doubt_writes();
        }
        outcome
    }

    /// One transaction. An error: nothing of it happened.
    async fn transact(&self, jobs: &[Job]) -> Result<Outcomes, StoreError> {
        let mut tx = self.store.write().await?;
        let mut group = Group::upon(&tx.look_up(&[]).await?);
        let claims: Vec<Claim> = jobs.iter().map(|job| job.wanted.claim.clone()).collect();
        let grounds = tx.grounds(&claims).await?;
        // Of two for the same layer the last one is kept, as if they had come one after the other.
        let mut given = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(jobs.len());
        for (job, grounds) in jobs.iter().zip(grounds) {
            let policy = group.policy_in_force().copied();
            let outcome = match refusal(&mut tx, &job.wanted, grounds, policy).await? {
                Some(why) => Err(why),
                None => {
                    if let Some(lease) = job.wanted.lease.clone() {
                        let bound = &lease.bound;
                        let name = (bound.key.clone(), bound.key_version, bound.layer);
                        given.insert((lease.host.clone(), name), lease);
                    }
                    Ok(job.wanted.entry.append_to(&mut group)?)
                }
            };
            outcomes.push(outcome);
        }
        if !given.is_empty() {
            let given: Vec<NewLease> = given.into_values().collect();
            tx.keep_leases(&given).await?;
        }
        if !group.is_empty() {
            tx.write_group(group).await?;
            // COMMIT POINT: from here on they are given, whether or not the answers arrive.
            tx.commit().await?;
        }
        Ok(outcomes)
    }

    /// Publishes what is durable, then answers.
    fn conclude(&self, jobs: Vec<Job>, outcomes: Outcomes) {
        let orders: Vec<u64> = outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().ok().copied())
            .collect();
        if !orders.is_empty() {
            self.metrics.committed(orders.len());
        }
        for order in orders {
            self.index.note(order);
        }
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            // A caller that went away does not miss its answer.
            let _gone = job.reply.send(outcome.map(drop));
        }
    }
}

/// Why a lease is not given after all: what it rests on is no more.
async fn refusal(
    tx: &mut Tx,
    wanted: &Wanted,
    grounds: Grounds,
    policy: Option<Sha256Digest>,
) -> Result<Option<NotGiven>, StoreError> {
    if !grounds.enrolled {
        let end = tx.end_of(&wanted.claim.tls_key).await?;
        let end = end.ok_or(StoreError::Malformed("identity"))?;
        return Ok(Some(NotGiven::Round(RoundError::Ended(end))));
    }
    if !grounds.stands || policy.is_some_and(|policy| policy != wanted.policies) {
        return Ok(Some(NotGiven::Round(RoundError::Overtaken)));
    }
    Ok(match grounds.key {
        KeyState::Active if grounds.revoked => Some(NotGiven::Revoked),
        KeyState::Active => None,
        state => Some(NotGiven::Inactive(state)),
    })
}
