//! The node controller: what is held about hosts, written onto nodes; and pods ended that may not stay where they run.
//!
//! It goes by what is, not by what happened: each round looks at all nodes and bound pods and mends what differs, so
//! that nothing is missed and nothing is done twice. One replica does it, the holder of a Lease.

mod boots;
mod breaker;
mod compared;
mod custody;
mod evictions;
mod gates;
mod integrity;
mod judged;
mod policy_objects;
mod statement;
mod webhooks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::leader::Candidate;
use touchstone_kubernetes::marks::Marks;
use touchstone_kubernetes::names::{TAINT, TIER};
use touchstone_kubernetes::node::Node;

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::random;

use boots::Boots;
use breaker::{Breaker, Turn, Turns};
use compared::Compared;
use custody::Custody;
use evictions::Evictions;
use judged::{Fault, Judged};
use policy_objects::Applier;
use statement::Statements;
use webhooks::Watched;

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two renewals of the Lease.
const RENEWAL: Duration = Duration::from_secs(4);

struct Controller {
    attestor: Arc<Attestor>,
    cluster: Arc<Cluster>,
    breaker: Breaker,
    boots: Boots,
    compared: Compared,
    custody: Custody,
    evictions: Evictions,
    statements: Statements,
    policies: Applier,
    webhooks: Watched,
    /// Whether evictions are held, as it was said last.
    held: bool,
}

/// Works until it is dropped.
pub(crate) async fn run(attestor: Arc<Attestor>, cluster: Arc<Cluster>) {
    cluster.ready().await;
    let Ok(identity) = random::bytes::<8>() else {
        tracing::error!("no random bytes; the node controller does not work");
        return;
    };
    let mut candidate = Candidate::new(hex::encode(identity));
    let mut controller: Option<Controller> = None;
    let mut renewed: Option<Instant> = None;
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if renewed.is_none_or(|at| at.elapsed() >= RENEWAL) {
            let leads = candidate.leads(&cluster).await.unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "whether this replica writes to the cluster is not known"
                );
                false
            });
            renewed = leads.then(Instant::now);
            if leads != controller.is_some() {
                tracing::info!(leads, "the node controller");
                controller = leads.then(|| Controller::new(&attestor, &cluster));
            }
        }
        if let Some(controller) = &mut controller {
            controller.round().await;
        }
    }
}

/// When a round is: all that waits for a grace in it counts from here, so that what begins together ends together.
#[derive(Clone, Copy)]
struct Moment {
    /// Seconds since 1970.
    now: i64,
    instant: Instant,
}

impl Controller {
    fn new(attestor: &Arc<Attestor>, cluster: &Arc<Cluster>) -> Self {
        Self {
            attestor: Arc::clone(attestor),
            cluster: Arc::clone(cluster),
            breaker: Breaker::default(),
            boots: Boots::default(),
            compared: Compared::default(),
            custody: Custody::default(),
            evictions: Evictions::default(),
            statements: Statements::default(),
            policies: Applier::default(),
            webhooks: Watched::default(),
            held: false,
        }
    }

    async fn round(&mut self) {
        // What nobody confirmed lately says nothing, neither that a host is good nor that it is bad.
        if !self.attestor.index.is_confirmed() {
            return;
        }
        let at = Moment {
            now: clock::now(),
            instant: Instant::now(),
        };
        let now = at.now;
        self.webhooks
            .round(&self.attestor, &self.cluster, now)
            .await;
        self.policies.round(&self.attestor, &self.cluster).await;
        let nodes = self.cluster.nodes();
        let judged: Vec<(Arc<Node>, Judged)> = nodes
            .into_iter()
            .map(|node| {
                let judged = self.judge(&node, now);
                (node, judged)
            })
            .collect();
        let turns = self.turns(&judged, at.instant);
        self.note_held(&turns, now).await;
        self.custody
            .round(&self.attestor, &self.cluster, &judged, now)
            .await;
        self.compared.round(&self.attestor, &self.cluster, at).await;
        let (held, compared) = (&turns.held, &self.compared);
        self.evictions
            .round(&self.attestor, &self.cluster, &judged, held, compared, at)
            .await;
        // After its pods of a policy were ended, each with an entry: our taint ends all others.
        for (node, judged) in &judged {
            self.mark(node, judged, &turns).await;
        }
        gates::round(&self.attestor, &self.cluster, &judged, now).await;
        self.statements
            .round(&self.attestor, &self.cluster, &judged, now)
            .await;
    }

    fn judge(&mut self, node: &Node, now: i64) -> Judged {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let uid = node.metadata.uid.as_deref().unwrap_or_default();
        let host = self.attestor.index.host_behind(name, uid);
        let held = host
            .as_ref()
            .and_then(|host| self.attestor.index.standing(host));
        let booted_at = self.boots.look(node, now);
        Judged::of(host, held, booted_at, now)
    }

    fn turns(&mut self, judged: &[(Arc<Node>, Judged)], now: Instant) -> Turns {
        let mapped = judged.iter().filter(|(_, judged)| judged.host.is_some());
        let nodes: Vec<Turn<'_>> = mapped
            .map(|(node, judged)| Turn {
                node: node.metadata.name.as_deref().unwrap_or_default(),
                trusted: !matches!(judged.fault, Some(Fault::New | Fault::Untrusted)),
                untrusted: judged.fault == Some(Fault::Untrusted),
                was_trusted: carries_trust(node) || is_tainted(node, "NoSchedule"),
                executed: is_tainted(node, "NoExecute"),
            })
            .collect();
        let config = self.cluster.config();
        let grace = Duration::from_secs(config.grace_seconds);
        self.breaker
            .look(&nodes, config.breaker_percent, grace, now)
    }

    async fn mark(&self, node: &Node, judged: &Judged, turns: &Turns) {
        let config = self.cluster.config();
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let marks = Marks {
            labels: judged.labels(&self.attestor.index.policies()),
            taint: judged.fault.and_then(|fault| fault.taint(config.taints)),
            execute: config.execute && turns.over.contains(name),
        };
        match self.cluster.mark(node, &marks).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(k8s.node = name, appraisal.tier = %judged.tier, taint = marks.taint, "node marked");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, k8s.node = name, "a node could not be marked");
            }
        }
    }

    /// That pods stay where they must not is told once, and so is its end.
    async fn note_held(&mut self, turns: &Turns, now: i64) {
        let held = !turns.held.is_empty();
        self.attestor.metrics.evictions_held(turns.held.len());
        if held == self.held {
            return;
        }
        self.held = held;
        match held {
            true => tracing::error!(
                nodes = turns.held.len(),
                "too many nodes turned untrusted at once: no pod is ended until fewer are; see `touchstone host list`"
            ),
            false => tracing::info!("pods of untrusted nodes are ended again"),
        }
        let event = Event::EvictionsHeld {
            nodes: turns.held.len(),
            held,
        };
        if let Err(error) = write(&self.attestor, &event, now).await {
            tracing::error!(error = &*error, "an entry was not written");
        }
    }
}

/// Writes an entry of the attestor's own doing.
async fn write(
    attestor: &Attestor,
    event: &Event,
    now: i64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let entry = Entry::new(event, &Actor::Attestor, now)?;
    attestor.commits.entry(entry).await?;
    Ok(())
}

fn carries_trust(node: &Node) -> bool {
    let labels: Option<&_> = node.metadata.labels.as_ref();
    let tier = labels.and_then(|labels| labels.get(TIER));
    tier.is_some_and(|tier| tier == "affirming" || tier == "warning")
}

/// Whether the node carries our taint for a host that is not trusted, with this effect.
fn is_tainted(node: &Node, effect: &str) -> bool {
    let mut taints = node.spec.taints.iter();
    taints.any(|taint| taint.key == TAINT && taint.value == "untrusted" && taint.effect == effect)
}
