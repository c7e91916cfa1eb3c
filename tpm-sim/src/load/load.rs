//! The hosts under way, and one round of one of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_evidence::wire::Challenge;

use super::host::Host;
use super::pool::{Lease, Pool};
use super::tally::{Outcome, Round};
use super::wire::Answer;

/// Seconds before its end from which on a challenge is no longer answered.
const MARGIN: i64 = 5;

/// All hosts, enrolled.
pub(crate) struct Load {
    pub(crate) pool: Arc<Pool>,
    seats: Vec<Seat>,
    began: Instant,
    /// Each round but the first follows a reboot.
    reboot: bool,
    /// Rounds that have not begun are given up.
    over: AtomicBool,
}

/// A host and what is due of it.
struct Seat {
    id: HostId,
    host: tokio::sync::Mutex<Host>,
    due: Mutex<Due>,
}

#[derive(Default)]
struct Due {
    waiting: VecDeque<Instant>,
    /// Somebody works them off.
    attended: bool,
}

/// What a round needs of its answer. The signed result is the relying parties' to look at.
#[derive(Deserialize)]
struct Verdict {
    tier: TrustTier,
    findings: Vec<Finding>,
    challenge: Challenge,
}

/// Why a round has no verdict.
enum Failure {
    Refused(String, Option<Duration>),
    Lost(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Lost(format!("{error:#}"))
    }
}

impl Load {
    /// These hosts, numbered from 0.
    pub(crate) fn new(pool: Arc<Pool>, hosts: Vec<Host>, began: Instant, reboot: bool) -> Self {
        let seat = |host: Host| Seat {
            id: host.id.clone(),
            host: tokio::sync::Mutex::new(host),
            due: Mutex::default(),
        };
        Self {
            pool,
            seats: hosts.into_iter().map(seat).collect(),
            began,
            reboot,
            over: AtomicBool::new(false),
        }
    }

    /// How many there are.
    pub(crate) fn hosts(&self) -> usize {
        self.seats.len()
    }

    /// What they are called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &HostId> {
        self.seats.iter().map(|seat| &seat.id)
    }

    /// Puts a round of a host into its queue; true: nobody attends to the queue, so the caller must.
    pub(crate) fn enqueue(&self, number: usize, due: Instant) -> bool {
        let Some(mut queue) = self.queue(number) else {
            return false;
        };
        queue.waiting.push_back(due);
        !std::mem::replace(&mut queue.attended, true)
    }

    /// Takes the next round out of a host's queue. `None`: there is none, and whoever asked is done with it.
    pub(crate) fn dequeue(&self, number: usize) -> Option<Instant> {
        let mut queue = self.queue(number)?;
        let due = queue.waiting.pop_front();
        queue.attended = due.is_some();
        due
    }

    fn queue(&self, number: usize) -> Option<MutexGuard<'_, Due>> {
        let seat = self.seats.get(number)?;
        Some(seat.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives up what has not begun.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// One round of a host, which was due at `due`.
    pub(crate) async fn round(&self, number: usize, due: Instant) -> Round {
        let Some(seat) = self.seats.get(number) else {
            return Round::not_begun(due, Instant::now());
        };
        let mut host = seat.host.lock().await;
        let lease = self.pool.lease(number).await;
        if self.over.load(Ordering::Relaxed) {
            return Round::not_begun(due, Instant::now());
        }
        let mut round = Round::not_begun(due, due);
        let answered = match lease {
            Ok(mut lease) => self.attest(&mut host, &mut lease, &mut round).await,
            Err(error) => Err(error.into()),
        };
        round.latency = due.elapsed();
        round.outcome = match answered {
            Ok(verdict) => {
                host.challenge = Some(verdict.challenge);
                Outcome::Answered {
                    tier: verdict.tier.to_string(),
                    findings: verdict.findings.into_iter().map(|one| one.code).collect(),
                }
            }
            Err(failure) => {
                host.start_over();
                match failure {
                    Failure::Refused(code, retry_after) => {
                        round.retry_after = retry_after;
                        Outcome::Refused(code)
                    }
                    Failure::Lost(why) => Outcome::Lost(why),
                }
            }
        };
        round
    }

    async fn attest(
        &self,
        host: &mut Host,
        lease: &mut Lease<'_>,
        round: &mut Round,
    ) -> Result<Verdict, Failure> {
        if self.reboot {
            host.reboot()?;
        }
        let now = seconds_since_1970();
        let open = host.challenge.take();
        let open = open.filter(|challenge| now < challenge.expires_at.saturating_sub(MARGIN));
        host.challenge = match open {
            Some(challenge) => Some(challenge),
            None => {
                round.asked = true;
                let asked = lease.post(&host.tls, "/v1/challenges", None, Bytes::new());
                Some(read(&asked.await?)?)
            }
        };
        let evidence = host.evidence(self.began.elapsed())?;
        round.sent = evidence.len();
        let posted = lease.post(&host.tls, "/v1/evidence", None, evidence.into());
        let answer = posted.await?;
        round.answered = answer.body.len();
        read(&answer)
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    if !answer.is_success() {
        let code = answer.problem().code().to_owned();
        return Err(Failure::Refused(code, answer.retry_after));
    }
    let wrong = |error| Failure::Lost(format!("the answer does not read: {error}"));
    serde_json::from_slice(&answer.body).map_err(wrong)
}

/// What challenges are dated in.
pub(crate) fn seconds_since_1970() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
