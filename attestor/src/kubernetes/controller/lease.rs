//! Whether this replica leads: a task of its own keeps the Lease, and tells. However long a round of the work takes, the
//! Lease is renewed meanwhile; once it is not certain to be ours any more, the work ends where it stands. An orderly stop
//! gives it back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch::error::RecvError;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use touchstone_kubernetes::cluster::{Cluster, ClusterError};
use touchstone_kubernetes::leader::{Candidate, DURATION};

/// Between two renewals.
const RENEWAL: Duration = Duration::from_secs(4);
/// Before one that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at a Lease that another one has: what it gives back is not to wait long.
const LOOK: Duration = Duration::from_millis(500);
/// After so long without a renewal nobody works under the Lease any more: well before another replica may take it, and
/// with room for one more try that hangs.
const FENCE: Duration = Duration::from_secs(9);

/// Says whether this replica leads. The task ends with it.
pub(super) struct Leading {
    leads: watch::Receiver<bool>,
    task: JoinHandle<()>,
    /// Ends the task in order.
    stop: oneshot::Sender<()>,
}

impl Leading {
    /// Begins to ask for the Lease.
    pub(super) fn start(candidate: Candidate, cluster: Arc<Cluster>) -> Self {
        let (tell, leads) = watch::channel(false);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(keep(candidate, cluster, tell, stopped));
        Self { leads, task, stop }
    }

    /// Waits until this replica leads. An error says that the task is gone: it will never be known again.
    pub(super) async fn begins(&mut self) -> Result<(), RecvError> {
        self.leads.wait_for(|leads| *leads).await.map(drop)
    }

    /// Waits until it does not any more, or until nobody says so.
    pub(super) async fn ends(&mut self) {
        let _task_is_gone = self.leads.wait_for(|leads| !*leads).await;
    }

    /// Gives the Lease back, if this replica has it. Nobody may work under it any more.
    pub(super) async fn give_back(self) {
        let _ended = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::debug!("the Lease was not given back: {error}");
        }
    }
}

async fn keep(
    mut candidate: Candidate,
    cluster: Arc<Cluster>,
    leading: watch::Sender<bool>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut fence = Fence::default();
    let mut complained = false;
    loop {
        let asked = Instant::now();
        let answer = candidate.leads(&cluster).await;
        complained = tell(answer.as_ref().err(), complained);
        let answer = answer.ok();
        let leads = fence.leads(answer, asked, Instant::now());
        if leading.send_replace(leads) != leads {
            tracing::info!(leads, "the node controller");
        }
        let pause = match answer {
            Some(true) => RENEWAL,
            Some(false) => LOOK,
            None => AGAIN,
        };
        tokio::select! {
            () = sleep(pause) => {}
            ordered = &mut stopped => {
                if ordered.is_ok() {
                    release(&candidate, &cluster).await;
                }
                return;
            }
        }
    }
}

async fn release(candidate: &Candidate, cluster: &Cluster) {
    match candidate.release(cluster).await {
        Ok(()) => tracing::debug!("the Lease is anybody's"),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "the Lease was not given back; it runs out by itself");
        }
    }
}

/// Tells a refusal once, until it is over; that the API server is away is told of it elsewhere. Returns whether it was told.
fn tell(error: Option<&ClusterError>, complained: bool) -> bool {
    let Some(error) = error else {
        return false;
    };
    let told = complained || error.is_absence();
    let error = error as &dyn std::error::Error;
    let what = "whether this replica writes to the cluster is not known";
    match told {
        true => tracing::debug!(error, "{what}"),
        false => tracing::warn!(error, "{what}"),
    }
    complained || !told
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
        let (stop, _stopped) = oneshot::channel();
        let mut leading = Leading { leads, task, stop };
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
