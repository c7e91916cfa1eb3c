//! One round of the controller: everything is looked at, and what differs is mended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::marks::Marks;
use touchstone_kubernetes::node::Node;

use super::absent_namespaces::AbsentNamespaces;
use super::boots::Boots;
use super::breaker::{Breaker, Turns};
use super::compared::Compared;
use super::custody::Custody;
use super::evictions::{self, Evictions, Refused};
use super::gates::Gates;
use super::held::{Held, Holding};
use super::integrity::Integrity;
use super::judged::{Fault, Judged};
use super::lately;
use super::node_notices::{Marked, NodeNotices};
use super::notices::Notices;
use super::pods::{Looked, Pods};
use super::policy_objects::Applier;
use super::statement::Statements;
use super::turning;
use super::webhooks::Watched;
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::kubernetes::Webhook;
use crate::kubernetes::cluster_identity::ClusterIdentity;
use crate::store::StoreError;

/// What whoever leads knows from round to round.
pub(super) struct Controller {
    attestor: Arc<Attestor>,
    cluster: Arc<Cluster>,
    identity: Arc<ClusterIdentity>,
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

/// When a round is: all that waits for a grace in it counts from here, so that what begins together ends together.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) instant: Instant,
}

impl Controller {
    /// Goes on where whoever led before ended.
    pub(super) async fn new(
        attestor: &Arc<Attestor>,
        cluster: &Arc<Cluster>,
        webhook: &Arc<Webhook>,
    ) -> Result<Self, StoreError> {
        let lately = lately::read(&attestor.store, &attestor.cluster, clock::now()).await?;
        Ok(Self {
            attestor: Arc::clone(attestor),
            cluster: Arc::clone(cluster),
            identity: Arc::clone(&webhook.identity),
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

    /// One look at everything.
    pub(super) async fn round(&mut self) {
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
        let cluster = (&*self.cluster, &*self.identity);
        self.policies.round(&self.attestor, cluster).await;
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
        let nodes = turning::of(judged, &evictions::losing(refused), at.now);
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
        let now = Holding {
            nodes: held.len(),
            of_hosts: !turns.held.is_empty(),
            of_images: !ended.kept.is_empty(),
        };
        let write = async |event: Event| write(&self.attestor, &event, at.now).await;
        self.held.note(&self.attestor.cluster, now, write).await;
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

/// Writes an entry of the attestor's own doing.
pub(super) async fn write(
    attestor: &Attestor,
    event: &Event,
    now: i64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let entry = Entry::new(event, &Actor::Attestor, now)?;
    attestor.commits.entry(entry).await?;
    Ok(())
}

/// RFC 3339.
pub(super) fn moment(seconds: i64) -> Option<String> {
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    moment.format(&Rfc3339).ok()
}
