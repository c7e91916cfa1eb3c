//! Commits in groups: whatever waits when the last group is durable makes up the next one, so that one write to
//! the disk serves many. Each member has its own outcome, duplicates are decided in order, and an answer waits
//! for its group: commit, then publish, then answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::AuthorityKey;
use touchstone_evidence::transparency::Frontier;
use touchstone_evidence::wire::Challenge;

use crate::appraisal::{self, Decided, Round, RoundError};
use crate::audit::Entry;
use crate::clock;
use crate::kill_points::{self, Step};
use crate::metrics::Metrics;
use crate::store::{Asked, Found, Group, Snapshot, Store, StoreError, Tx};
use crate::trust_index::TrustIndex;

/// Most members of a group: a later one waits for the next.
const GROUP_MAX: usize = 256;
/// Most that wait: beyond them the caller is told to come later.
const WAITING_MAX: usize = 4096;
/// Between the beginnings of two commits, so that what comes close together shares one. Who comes alone does not wait.
const PACE: Duration = Duration::from_millis(1);

/// Hands changes to the one task that commits them.
pub(crate) struct Commits(mpsc::Sender<Job>);

/// What was seen at one moment.
pub(crate) struct Seen {
    /// `None`: the TLS key is of no enrolled host.
    pub(crate) found: Option<Found>,
    pub(crate) authorities: Arc<[AuthorityKey]>,
}

/// A look-up or a change, and where its outcome goes.
enum Job {
    LookUp(Asked, Reply<Seen>),
    Round(Box<Round>, Reply<Decided>),
    Challenge(Asked, Reply<Challenge>),
    Entry(Entry, Reply<u64>),
}

type Outcomes = Vec<Result<Outcome, RoundError>>;
type Reply<T> = oneshot::Sender<Result<T, RoundError>>;

impl Commits {
    /// Starts the task. It ends with the last handle.
    pub(crate) fn start(store: Store, index: Arc<TrustIndex>, metrics: Arc<Metrics>) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let committer = Committer {
            store,
            index,
            metrics,
            edge: None,
        };
        tokio::spawn(committer.run(waiting));
        Self(sender)
    }

    /// What is held about whoever asks. Where changes wait as well, it is read in their transaction.
    pub(crate) async fn look_up(&self, asked: Asked) -> Result<Seen, RoundError> {
        self.ask(|reply| Job::LookUp(asked, reply)).await
    }

    /// Commits a round; returns what came of it, with its answer.
    pub(crate) async fn round(&self, round: Round) -> Result<Decided, RoundError> {
        self.ask(|reply| Job::Round(Box::new(round), reply)).await
    }

    /// Makes another challenge for a host.
    pub(crate) async fn challenge(&self, asked: Asked) -> Result<Challenge, RoundError> {
        self.ask(|reply| Job::Challenge(asked, reply)).await
    }

    /// Appends an entry; returns its index.
    pub(crate) async fn entry(&self, entry: Entry) -> Result<u64, RoundError> {
        self.ask(|reply| Job::Entry(entry, reply)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, RoundError> {
        let (reply, outcome) = oneshot::channel();
        let sent = self.0.try_send(job(reply));
        sent.map_err(|_| RoundError::Busy)?;
        outcome.await.map_err(|_| RoundError::Cancelled)?
    }
}

struct Committer {
    store: Store,
    index: Arc<TrustIndex>,
    metrics: Arc<Metrics>,
    /// The right edge of the log as the last group left it. Others append as well: a commit upon it can fail.
    edge: Option<Frontier>,
}

/// What a member comes to once its group is durable.
enum Outcome {
    Seen(Seen),
    Round(Decided),
    Challenge(HostId, Challenge),
    Entry(u64),
}

impl Committer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut turn = Instant::now();
        let mut jobs = Vec::with_capacity(GROUP_MAX);
        while waiting.recv_many(&mut jobs, GROUP_MAX).await > 0 {
            if jobs.iter().any(Job::changes) {
                sleep_until(turn).await;
                while jobs.len() < GROUP_MAX
                    && let Ok(job) = waiting.try_recv()
                {
                    jobs.push(job);
                }
                turn = Instant::now() + PACE;
            }
            self.commit(std::mem::take(&mut jobs)).await;
        }
    }

    /// Commits `jobs` together; if that fails, one by one, so that none fails for another.
    async fn commit(&mut self, jobs: Vec<Job>) {
        match self.write(&jobs).await {
            Ok(outcomes) => self.conclude(jobs, outcomes),
            Err(error) if jobs.len() == 1 => {
                if let Some(job) = jobs.into_iter().next() {
                    fail(job, error);
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a group of {} was not committed; each is tried by itself",
                    jobs.len()
                );
                for job in jobs {
                    match self.write(std::slice::from_ref(&job)).await {
                        Ok(outcomes) => self.conclude(vec![job], outcomes),
                        Err(error) => fail(job, error),
                    }
                }
            }
        }
    }

    /// One transaction. An error: nothing of it happened.
    async fn write(&mut self, jobs: &[Job]) -> Result<Outcomes, StoreError> {
        if !jobs.iter().any(Job::changes) {
            let asked: Vec<Asked> = jobs.iter().filter_map(Job::asked).cloned().collect();
            return Ok(seen(self.store.look_up(&asked).await?));
        }
        let edge = self.edge.take().filter(|_| self.store.appends_at_once());
        if let (Some(edge), Some(entries)) = (edge, entries_alone(jobs)) {
            match self.append(&edge, &entries).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => tell_of_another_try(&error, entries.len()),
            }
        }
        let outcome = self.transact(jobs).await;
        if let Err(StoreError::Database(_)) = outcome {
            self.store.doubt_writes();
        }
        outcome
    }

    /// Entries alone, upon `edge`. An error: nothing of it happened, perhaps since somebody else appended.
    async fn append(
        &mut self,
        edge: &Frontier,
        entries: &[&Entry],
    ) -> Result<Outcomes, StoreError> {
        let mut group = Group::of_entries(edge);
        let append = |entry: &&Entry| Ok(Ok(Outcome::Entry(entry.append_to(&mut group)?)));
        let outcomes = entries
            .iter()
            .map(append)
            .collect::<Result<_, StoreError>>()?;
        let edge = group.edge().clone();
        // COMMIT POINT, as below.
        self.store.append_group(group).await?;
        kill_points::pass(Step::Committed);
        self.edge = Some(edge);
        Ok(outcomes)
    }

    async fn transact(&mut self, jobs: &[Job]) -> Result<Outcomes, StoreError> {
        let mut tx = self.store.write().await?;
        kill_points::pass(Step::Begun);
        let asked: Vec<Asked> = jobs.iter().filter_map(Job::asked).cloned().collect();
        let seen = tx.look_up(&asked).await?;
        let mut group = Group::upon(&seen);
        let authorities = authorities(&seen);
        let mut found = seen.found.into_iter();
        let mut moved = HashSet::new();
        let mut outcomes = Vec::with_capacity(jobs.len());
        let now = clock::now();
        for job in jobs {
            let found = job.asked().and_then(|_| found.next().flatten());
            let seen = Seen {
                found,
                authorities: Arc::clone(&authorities),
            };
            match decide(job, seen, &mut group, &mut moved, now) {
                // It may have added half of what it writes.
                Err(RoundError::Store(error)) => return Err(error),
                Err(RoundError::Randomness(error)) => return Err(error.into()),
                outcome => outcomes.push(outcome),
            }
        }
        if group.is_empty() {
            return Ok(outcomes);
        }
        let edge = group.edge().clone();
        tx.write_group(group).await?;
        for (job, outcome) in jobs.iter().zip(&outcomes) {
            write_apart(&mut tx, job, outcome).await?;
        }
        kill_points::pass(Step::Written);
        // COMMIT POINT: from here on it stands, whether or not the answers arrive.
        tx.commit().await?;
        kill_points::pass(Step::Committed);
        self.edge = Some(edge);
        Ok(outcomes)
    }

    /// Publishes what is durable, then answers.
    fn conclude(&self, jobs: Vec<Job>, outcomes: Vec<Result<Outcome, RoundError>>) {
        let now = clock::now();
        let changes = jobs.iter().filter(|job| job.changes());
        if let changes @ 1.. = changes.count() {
            self.metrics.committed(changes);
        }
        for (job, outcome) in jobs.iter().zip(&outcomes) {
            match (job, outcome) {
                (Job::Round(round, _), Ok(Outcome::Round(Decided::Moved { order, moved, .. }))) => {
                    round.publish(*order, &self.index, &self.metrics, now);
                    if let Some(order) = moved {
                        self.index.note(*order);
                        self.metrics.host_moved();
                    }
                }
                (_, Ok(Outcome::Entry(order))) => self.index.note(*order),
                _ => {}
            }
        }
        kill_points::pass(Step::Published);
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            answer(job, outcome);
        }
    }
}

impl Job {
    /// Whether it writes anything.
    fn changes(&self) -> bool {
        !matches!(self, Self::LookUp(..))
    }

    fn asked(&self) -> Option<&Asked> {
        match self {
            Self::Round(round, _) => Some(round.asked()),
            Self::LookUp(asked, _) | Self::Challenge(asked, _) => Some(asked),
            Self::Entry(..) => None,
        }
    }
}

/// That somebody else appended meanwhile is no failure.
fn tell_of_another_try(error: &StoreError, entries: usize) {
    let chain = error as &dyn std::error::Error;
    match error.is_constraint() {
        true => tracing::debug!(
            error = chain,
            "the log moved; {entries} entries go upon it as it is"
        ),
        false => tracing::warn!(
            error = chain,
            "{entries} entries were not appended; they are tried once more"
        ),
    }
}

/// The entries of `jobs`, if they are nothing else.
fn entries_alone(jobs: &[Job]) -> Option<Vec<&Entry>> {
    let entries = jobs.iter().map(|job| match job {
        Job::Entry(entry, _) => Some(entry),
        _ => None,
    });
    entries.collect()
}

fn seen(snapshot: Snapshot) -> Outcomes {
    let authorities = authorities(&snapshot);
    let found = snapshot.found.into_iter();
    let seen = found.map(|found| Seen {
        found,
        authorities: Arc::clone(&authorities),
    });
    seen.map(|seen| Ok(Outcome::Seen(seen))).collect()
}

fn authorities(snapshot: &Snapshot) -> Arc<[AuthorityKey]> {
    let keys = snapshot.authorities.iter();
    keys.filter_map(AuthorityKey::from_bytes).collect()
}

/// What only few members write.
async fn write_apart(
    tx: &mut Tx,
    job: &Job,
    outcome: &Result<Outcome, RoundError>,
) -> Result<(), StoreError> {
    match (job, outcome) {
        (Job::Round(round, _), Ok(Outcome::Round(Decided::Moved { .. }))) => {
            round.write_apart(tx).await
        }
        (Job::Challenge(..), Ok(Outcome::Challenge(host, challenge))) => {
            tx.forget_oldest_challenges(host, &challenge.nonce).await
        }
        _ => Ok(()),
    }
}

/// `seen` is what was there before the group, so a host that was moved within it waits for the next one.
fn decide(
    job: &Job,
    seen: Seen,
    group: &mut Group,
    moved: &mut HashSet<HostId>,
    now: i64,
) -> Result<Outcome, RoundError> {
    match job {
        Job::LookUp(..) => Ok(Outcome::Seen(seen)),
        Job::Round(round, _) if moved.contains(round.host()) => Err(RoundError::Overtaken),
        Job::Round(round, _) => {
            let decided = round.decide(seen.found, group, now)?;
            if let Decided::Moved { .. } = decided {
                moved.insert(round.host().clone());
            }
            Ok(Outcome::Round(decided))
        }
        Job::Challenge(..) => {
            let (host, challenge) = appraisal::issue(seen.found, moved, group, now)?;
            Ok(Outcome::Challenge(host, challenge))
        }
        Job::Entry(entry, _) => Ok(Outcome::Entry(entry.append_to(group)?)),
    }
}

fn answer(job: Job, outcome: Result<Outcome, RoundError>) {
    // A caller that went away does not miss its answer.
    match (job, outcome) {
        (Job::LookUp(_, reply), Ok(Outcome::Seen(seen))) => {
            let _gone = reply.send(Ok(seen));
        }
        (Job::Round(_, reply), Ok(Outcome::Round(decided))) => {
            let _gone = reply.send(Ok(decided));
        }
        (Job::Challenge(_, reply), Ok(Outcome::Challenge(_, challenge))) => {
            let _gone = reply.send(Ok(challenge));
        }
        (Job::Entry(_, reply), Ok(Outcome::Entry(order))) => {
            let _gone = reply.send(Ok(order));
        }
        (job, Err(error)) => fail(job, error),
        (job, Ok(_)) => fail(job, RoundError::Cancelled),
    }
}

fn fail(job: Job, error: impl Into<RoundError>) {
    let error = error.into();
    match job {
        Job::LookUp(_, reply) => drop(reply.send(Err(error))),
        Job::Round(_, reply) => drop(reply.send(Err(error))),
        Job::Challenge(_, reply) => drop(reply.send(Err(error))),
        Job::Entry(_, reply) => drop(reply.send(Err(error))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::collections::{BTreeMap, BTreeSet};

    use tokio::task::JoinSet;

    use super::*;
    use crate::audit::{Actor, Event};

    #[tokio::test]
    async fn what_waits_in_more_than_one_group_is_answered_each_with_an_index_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let (index, metrics) = (Arc::default(), Arc::new(Metrics::new()));
        let commits = Arc::new(Commits::start(store.unwrap(), index, metrics));
        let count = 3 * GROUP_MAX + 7;
        let mut waiting = JoinSet::new();
        for _ in 0..count {
            let event = Event::Refused {
                counts: BTreeMap::new(),
            };
            let entry = Entry::new(&event, &Actor::Attestor, 1).unwrap();
            let commits = Arc::clone(&commits);
            waiting.spawn(async move { commits.entry(entry).await.unwrap() });
        }
        let indices: BTreeSet<u64> = waiting.join_all().await.into_iter().collect();
        assert!(indices.into_iter().eq(0..count as u64));
    }
}
