//! Whether this replica leads: a task of its own keeps the Lease, and tells. However long a round of the work takes, the
//! Lease is renewed meanwhile; once it is not certain to be ours any more, the work ends where it stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::leader::{Candidate, DURATION};

/// Between two renewals.
const RENEWAL: Duration = Duration::from_secs(4);
/// Before one that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// After so long without a renewal nobody works under the Lease any more: well before another replica may take it, and
/// with room for one more try that hangs.
const FENCE: Duration = Duration::from_secs(9);

/// Says whether this replica leads. The task ends with it.
pub(super) struct Leading {
    leads: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Leading {
    /// Begins to ask for the Lease.
    pub(super) fn start(candidate: Candidate, cluster: Arc<Cluster>) -> Self {
        let (tell, leads) = watch::channel(false);
        let task = tokio::spawn(keep(candidate, cluster, tell));
        Self { leads, task }
    }

    /// Waits until this replica leads. An error says that the task is gone: it will never be known again.
    pub(super) async fn begins(&mut self) -> Result<(), RecvError> {
        self.leads.wait_for(|leads| *leads).await.map(drop)
    }

    /// Waits until it does not any more, or until nobody says so.
    pub(super) async fn ends(&mut self) {
        let _task_is_gone = self.leads.wait_for(|leads| !*leads).await;
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(mut candidate: Candidate, cluster: Arc<Cluster>, tell: watch::Sender<bool>) {
    let mut fence = Fence::default();
    loop {
        let asked = Instant::now();
        let answer = candidate.leads(&cluster).await;
        if let Err(error) = &answer {
            let error = error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "whether this replica writes to the cluster is not known"
            );
        }
        let answer = answer.ok();
        let leads = fence.leads(answer, asked, Instant::now());
        if tell.send_replace(leads) != leads {
            tracing::info!(leads, "the node controller");
        }
        sleep(if answer.is_some() { RENEWAL } else { AGAIN }).await;
    }
}

/// When the Lease was renewed last.
#[derive(Default)]
struct Fence {
    renewed: Option<Instant>,
}

impl Fence {
    /// Whether the Lease is ours beyond doubt. `answer`: what was said about it, `None`: nothing; `asked`: when.
    fn leads(&mut self, answer: Option<bool>, asked: Instant, now: Instant) -> bool {
        match answer {
            // From when it was asked for: nobody knows when it was written.
            Some(true) => self.renewed = Some(asked),
            Some(false) => self.renewed = None,
            None => {}
        }
        let renewed = self.renewed;
        renewed.is_some_and(|at| now.saturating_duration_since(at) < FENCE)
    }
}

const _: () = assert!(
    FENCE.as_secs() + AGAIN.as_secs() + 4 < DURATION.as_secs(),
    "a try that begins before the fence ends before another replica begins"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_a_lease_that_no_task_asks_for() {
        let (tell, leads) = watch::channel(false);
        let task = tokio::spawn(async move { drop(tell) });
        let mut leading = Leading { leads, task };
        let waited = tokio::time::timeout(Duration::from_secs(5), leading.begins()).await;
        assert!(matches!(waited, Ok(Err(_))), "{waited:?}");
        leading.ends().await;
    }

    #[test]
    fn a_lease_that_is_not_renewed_is_given_up_before_another_may_take_it() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut fence = Fence::default();
        assert!(!fence.leads(None, at(0), at(1)));
        assert!(fence.leads(Some(true), at(1), at(2)));
        assert!(fence.leads(None, at(5), at(8)));
        assert!(!fence.leads(None, at(9), at(10)));
        // Renewed, but the answer came too late to count.
        assert!(!fence.leads(Some(true), at(11), at(20)));
        assert!(fence.leads(Some(true), at(21), at(22)));
        assert!(!fence.leads(Some(false), at(23), at(23)));
    }
}
