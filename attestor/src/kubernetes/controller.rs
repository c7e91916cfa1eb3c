//! The node controller: what is held about hosts, written onto nodes; and pods ended that may not stay where they run.
//!
//! It goes by what is, not by what happened: each round looks at all nodes and bound pods and mends what differs, so
//! that nothing is missed and nothing is done twice. One replica does it, the holder of a Lease.

mod absent_namespaces;
mod boots;
mod breaker;
mod compared;
mod custody;
mod evictions;
mod gates;
mod held;
mod integrity;
mod judged;
mod lately;
mod lease;
mod node_notices;
mod notices;
mod pod_notices;
mod pods;
mod policy_objects;
mod round;
mod statement;
mod turning;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::leader::{self, Candidate};

use super::Webhook;
use crate::attestor::Attestor;
use crate::random::{self, NoRandomness};

use lease::Leading;
use round::{Controller, Moment, write};

/// Between two rounds, where no host turns.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two rounds in any case, so that hosts that turn one after the other are looked at together.
const BREATH: Duration = Duration::from_millis(100);

/// Why the controller cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControllerError {
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the task that keeps the Lease is gone")]
    Lease,
}

/// Works until `stop` is said, whenever this replica leads, and looks meanwhile whether the cluster is the one that is meant.
pub(crate) async fn run(
    attestor: Arc<Attestor>,
    cluster: Arc<Cluster>,
    webhook: Arc<Webhook>,
    mut stop: oneshot::Receiver<()>,
) -> Result<(), ControllerError> {
    if cluster.policies().is_some() {
        tracing::warn!(
            "policies are objects of the cluster: whoever may write them there decides what hosts must be, as an officer does"
        );
    }
    let name = leader::identity(&random::bytes::<8>()?);
    tokio::select! {
        ended = ask_to_lead(&name, &attestor, &cluster, &webhook, &mut stop) => ended,
        never = webhook.identity.keep_looking(&attestor, &cluster) => match never {},
    }
}

/// Asks for the Lease as long as the cluster is the one that is meant. In the end it gives back what it led by.
async fn ask_to_lead(
    name: &str,
    attestor: &Arc<Attestor>,
    cluster: &Arc<Cluster>,
    webhook: &Arc<Webhook>,
    stop: &mut oneshot::Receiver<()>,
) -> Result<(), ControllerError> {
    loop {
        let ready = async {
            cluster.ready().await;
            webhook.identity.confirmed().await;
        };
        tokio::select! {
            () = ready => {}
            _ = &mut *stop => return Ok(()),
        }
        let candidate = Candidate::new(name.to_owned());
        let mut leading = Leading::start(candidate, Arc::clone(cluster));
        let ended = tokio::select! {
            lost = lead(&mut leading, attestor, cluster, webhook) => Some(Err(lost)),
            () = webhook.identity.lost() => None,
            _ = &mut *stop => Some(Ok(())),
        };
        leading.give_back().await;
        match ended {
            Some(ended) => return ended,
            None => attestor.metrics.webhook_gaps(None),
        }
    }
}

async fn lead(
    leading: &mut Leading,
    attestor: &Arc<Attestor>,
    cluster: &Arc<Cluster>,
    webhook: &Arc<Webhook>,
) -> ControllerError {
    loop {
        if leading.begins().await.is_err() {
            return ControllerError::Lease;
        }
        tokio::select! {
            () = work(attestor, cluster, webhook) => {}
            () = leading.ends() => {}
        }
        // Whoever leads now looks.
        attestor.metrics.webhook_gaps(None);
        attestor.metrics.evictions_held(0);
    }
}

/// Round after round. It may end anywhere: what it did is in the log, and what it did not is seen by whoever is next.
async fn work(attestor: &Arc<Attestor>, cluster: &Arc<Cluster>, webhook: &Arc<Webhook>) {
    let mut controller = None;
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = attestor.index.turned() => {}
        }
        if controller.is_none() {
            controller = match Controller::new(attestor, cluster, webhook).await {
                Ok(controller) => Some(controller),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "what was done to the cluster before is not known");
                    None
                }
            };
        }
        if let Some(controller) = &mut controller {
            controller.round().await;
        }
        sleep(BREATH).await;
    }
}
