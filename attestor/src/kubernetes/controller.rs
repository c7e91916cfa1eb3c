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
mod statement;
mod webhooks;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::leader::{self, Candidate};
use touchstone_kubernetes::marks::Marks;
use touchstone_kubernetes::names::{TAINT, TIER};
use touchstone_kubernetes::node::{Node, Taint};

use super::Webhook;
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::random::{self, NoRandomness};
use crate::store::StoreError;

use absent_namespaces::AbsentNamespaces;
use boots::Boots;
use breaker::{Breaker, Turn, Turns};
use compared::Compared;
use custody::Custody;
use evictions::{Evictions, Refused};
use gates::Gates;
use held::Held;
use integrity::Integrity;
use judged::{Fault, Judged};
use lease::Leading;
use node_notices::{Marked, NodeNotices};
use notices::Notices;
use pods::{Looked, Pods};
use policy_objects::Applier;
use statement::Statements;
use webhooks::Watched;

/// Between two rounds, where no host turns.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two rounds in any case, so that hosts that turn one after the other are looked at together.
const BREATH: Duration = Duration::from_millis(100);

struct Controller {
    attestor: Arc<Attestor>,
    cluster: Arc<Cluster>,
    breaker: Breaker,
    boots: Boots,
    compared: Compared,
    custody: Custody,
    evictions: Evictions,
    gates: Gates,
    pods: Pods,
    statements: Statements,
    policies: Applier,
    webhooks: Watched,
    held: Held,
    notices: Notices,
    node_notices: NodeNotices,
    absent: AbsentNamespaces,
}

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

/// When a round is: all that waits for a grace in it counts from here, so that what begins together ends together.
#[derive(Clone, Copy)]
struct Moment {
    /// Seconds since 1970.
    now: i64,
    instant: Instant,
}

impl Controller {
    /// Goes on where whoever led before ended.
    async fn new(
        attestor: &Arc<Attestor>,
        cluster: &Arc<Cluster>,
        webhook: &Arc<Webhook>,
    ) -> Result<Self, StoreError> {
        let lately = lately::read(&attestor.store, &attestor.cluster, clock::now()).await?;
        Ok(Self {
            attestor: Arc::clone(attestor),
            cluster: Arc::clone(cluster),
            breaker: Breaker::resume(lately.lost.into_iter(), Instant::now()),
            boots: Boots::load(&attestor.store, &attestor.cluster, clock::now()).await?,
            compared: Compared::default(),
            custody: Custody::default(),
            evictions: Evictions::new(Integrity::new(Arc::clone(webhook))),
            gates: Gates::default(),
            pods: Pods::default(),
            statements: Statements::default(),
            policies: Applier::default(),
            webhooks: Watched::load(attestor, cluster).await?,
            held: Held::resume(lately.held),
            notices: Notices::start(cluster),
            node_notices: NodeNotices::default(),
            absent: AbsentNamespaces::default(),
        })
    }

    async fn round(&mut self) {
        // What nobody confirmed lately says nothing, neither that a host is good nor that it is bad.
        if !self.attestor.index.is_confirmed() {
            return;
        }
        // That it is away was told; the Lease finds out when it is back.
        if !self.cluster.is_reachable() {
            self.attestor.metrics.webhook_gaps(None);
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
        self.boots.round(&self.attestor, &nodes, now).await;
        let judged: Vec<(Arc<Node>, Judged)> = nodes
            .into_iter()
            .map(|node| {
                let judged = self.judge(&node, now);
                (node, judged)
            })
            .collect();
        let looked = self.pods.look(
            self.attestor.index.policies(),
            self.cluster.bound_pods(),
            self.cluster.gated_pods(),
        );
        self.custody
            .round(&self.attestor, &looked, &judged, now)
            .await;
        self.compared.round(&self.attestor, &looked, at).await;
        self.notices.begin();
        self.node_notices.begin(&judged);
        let refused = self.refused(&looked, &judged, at);
        let turns = self.turns(&refused, &judged, at);
        // Before pods are ended, which may take long: no pod comes meanwhile.
        for (node, judged) in &judged {
            self.mark(node, judged, &turns, now).await;
        }
        self.end_pods(&refused, &judged, &turns, at).await;
        self.gates
            .round(&self.cluster, &mut self.notices, &looked, &judged, at)
            .await;
        self.statements
            .round(&self.attestor, &self.cluster, &judged, now)
            .await;
        let policies = self.attestor.index.policies();
        self.absent.round(&policies, &self.cluster).await;
    }

    fn judge(&self, node: &Node, now: i64) -> Judged {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let uid = node.metadata.uid.as_deref().unwrap_or_default();
        Judged::of(self.attestor.index.on_node(name, uid), now)
    }

    /// The pods that may not stay where they run.
    fn refused<'a>(
        &mut self,
        looked: &'a Looked,
        judged: &'a [(Arc<Node>, Judged)],
        at: Moment,
    ) -> Vec<Refused<'a>> {
        let (settings, compared) = ((&self.attestor, self.cluster.config()), &self.compared);
        self.evictions.look(settings, looked, judged, compared, at)
    }

    /// Which nodes lose their pods, unless too many would at once.
    fn turns<'a>(
        &mut self,
        refused: &[Refused<'a>],
        judged: &'a [(Arc<Node>, Judged)],
        at: Moment,
    ) -> Turns {
        let config = self.cluster.config();
        let nodes = turns_of(judged, &evictions::losing(refused), at.now);
        let grace = Duration::from_secs(config.grace_seconds);
        let percent = config.breaker_percent;
        let mut turns = self.breaker.look(&nodes, percent, grace, at.instant);
        // Pods of a policy end with an entry each, before our taint ends all others.
        turns.put_off(&nodes, &self.evictions.unwritten(refused));
        turns
    }

    /// Ends pods that may not stay.
    async fn end_pods(
        &mut self,
        refused: &[Refused<'_>],
        judged: &[(Arc<Node>, Judged)],
        turns: &Turns,
        at: Moment,
    ) {
        let writers = (&*self.attestor, &*self.cluster, &mut self.notices);
        let ended = self.evictions.end_all(writers, refused, &turns.held, at);
        let ended = ended.await;
        for node in ended.lost {
            self.breaker.note_ended(node, at.instant);
        }
        let held: HashSet<String> = turns.held.union(&ended.kept).cloned().collect();
        self.attestor.metrics.evictions_held(held.len());
        let write = async |event: Event| write(&self.attestor, &event, at.now).await;
        self.held
            .note(&self.attestor.cluster, held.len(), write)
            .await;
        if self.held.is_told(held.len()) {
            self.node_notices
                .note_held(&mut self.notices, judged, &held, at.now);
        }
    }

    async fn mark(&mut self, node: &Node, judged: &Judged, turns: &Turns, now: i64) {
        let config = self.cluster.config();
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let fault = judged.fault.map(|fault| match fault {
            // A proof that fails from the first on is no turn.
            Fault::Untrusted if !turns.fell.contains(name) => Fault::New,
            fault => fault,
        });
        let marks = Marks {
            labels: judged.labels(&self.attestor.index.policies()),
            taint: fault.and_then(|fault| fault.taint(config.taints)),
            execute: config.execute && turns.over.contains(name),
            // For whoever leads next: it is one of those that turned.
            since: moment(now).filter(|_| turns.lately.contains(name)),
        };
        let wrote = match self.cluster.mark(node, &marks).await {
            Ok(wrote) => wrote,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, k8s.node = name, "a node could not be marked");
                return;
            }
        };
        if wrote {
            tracing::info!(k8s.node = name, appraisal.tier = %judged.tier, taint = marks.taint, "node marked");
        }
        let marked = Marked::new(fault, &marks, wrote);
        self.node_notices
            .note(&mut self.notices, node, judged, marked, now);
    }
}

/// Every node that a host stands behind, and those that lose pods.
fn turns_of<'a>(
    judged: &'a [(Arc<Node>, Judged)],
    losing: &HashSet<&'a str>,
    now: i64,
) -> Vec<Turn<'a>> {
    let turns = judged.iter().map(|(node, judged)| {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let execution = taint(node, "NoExecute");
        let turn = Turn {
            node: name,
            trusted: !matches!(judged.fault, Some(Fault::New | Fault::Untrusted)),
            untrusted: judged.fault == Some(Fault::Untrusted),
            was_trusted: carries_trust(node)
                || taint(node, "NoSchedule").is_some()
                || judged.was_trusted(),
            loses: losing.contains(name),
            executed: execution.is_some(),
            executed_for: execution.and_then(|taint| age(taint, now)),
        };
        (judged, turn)
    });
    let counting = turns.filter(|(judged, turn)| judged.host.is_some() || turn.loses);
    breaker::with_unseen(counting.map(|(_, turn)| turn).collect(), losing)
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

/// Our taint with this effect on the node, for a host that is not trusted.
fn taint<'a>(node: &'a Node, effect: &str) -> Option<&'a Taint> {
    let mut taints = node.spec.taints.iter();
    taints.find(|taint| taint.key == TAINT && taint.value == "untrusted" && taint.effect == effect)
}

/// How long ago it was put there, where it says so.
fn age(taint: &Taint, now: i64) -> Option<Duration> {
    let added = OffsetDateTime::parse(taint.time_added.as_deref()?, &Rfc3339).ok()?;
    let ago = now.saturating_sub(added.unix_timestamp());
    Some(Duration::from_secs(u64::try_from(ago).unwrap_or(0)))
}

/// RFC 3339.
fn moment(seconds: i64) -> Option<String> {
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    moment.format(&Rfc3339).ok()
}
