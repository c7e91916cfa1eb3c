//! The end of pods that may not stay where they run: their host turned, their node is another one, or policy changed.
//!
//! This is the look after the binding: what the watch showed too late then, it shows now.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::config::Config;
use touchstone_kubernetes::node::Node;
use touchstone_policies::admit::{Behind, refusals_of};
use touchstone_policies::manifest::{PolicySet, WorkloadPolicy};
use touchstone_policies::prose;

use super::compared::Compared;
use super::integrity::Integrity;
use super::judged::{Fault, Judged};
use super::pods::{Known, Looked};
use super::{Moment, write};
use crate::attestor::Attestor;
use crate::audit::Event;

/// Most seconds that a pod gets to end in, whatever it asks for.
const GRACE_SECONDS: u32 = 30;

/// Pods that are refused where they run, by uid.
pub(super) struct Evictions {
    /// Since when.
    refused: HashMap<String, Instant>,
    /// Those of them whose entry is written.
    written: HashSet<String>,
    integrity: Integrity,
}

/// A pod that may not stay where it runs.
pub(super) struct Refused<'a> {
    known: Arc<Known>,
    pub(super) node: &'a str,
    judged: Option<&'a Judged>,
    /// Names of the policies that are for it.
    policies: &'a [String],
    refusals: Vec<Finding>,
    /// Whether its grace is over.
    due: bool,
}

impl Evictions {
    /// None yet. `integrity` finds out what nodes run.
    pub(super) fn new(integrity: Integrity) -> Self {
        Self {
            refused: HashMap::new(),
            written: HashSet::new(),
            integrity,
        }
    }

    /// Every pod that may not stay where it runs.
    pub(super) fn look<'a>(
        &mut self,
        (attestor, config): (&Arc<Attestor>, &Config),
        looked: &'a Looked,
        judged: &'a [(Arc<Node>, Judged)],
        compared: &Compared,
        at: Moment,
    ) -> Vec<Refused<'a>> {
        let by_name: HashMap<&str, &Judged> = judged
            .iter()
            .filter_map(|(node, judged)| Some((node.metadata.name.as_deref()?, judged)))
            .collect();
        self.integrity.begin();
        let bound = looked.bound.iter();
        let refused = bound.filter_map(|known| {
            let judged = by_name.get(known.node()).copied();
            let (policies, refusals) = self.refusals(&looked.policies, known, judged, compared, at);
            if refusals.is_empty() {
                return None;
            }
            let since = *self
                .refused
                .entry(known.uid().to_owned())
                .or_insert(at.instant);
            Some(Refused {
                known: Arc::clone(known),
                node: known.node(),
                judged,
                policies,
                refusals,
                due: at.instant.duration_since(since) >= grace(config, judged),
            })
        });
        let all: Vec<Refused<'a>> = refused.collect();
        self.integrity.ask(attestor);
        let uids: HashSet<&str> = all.iter().map(|refused| refused.known.uid()).collect();
        self.refused.retain(|uid, _| uids.contains(uid.as_str()));
        self.written.retain(|uid| uids.contains(uid.as_str()));
        all
    }

    /// The policies that are for a pod, and why it may not stay where it runs.
    fn refusals<'a>(
        &mut self,
        policies: &PolicySet,
        known: &'a Known,
        judged: Option<&Judged>,
        compared: &Compared,
        at: Moment,
    ) -> (&'a [String], Vec<Finding>) {
        let Some(meant) = &known.meant else {
            return (&[], Vec::new());
        };
        let selected = meant.selected(policies);
        let mut refusals = refusals(policies, &selected, judged, known.node(), at.now);
        refusals.extend(self.integrity.refusals(&selected, &known.pod, &meant.facts));
        refusals.extend_from_slice(compared.refusals(known.uid()));
        (&meant.policies, refusals)
    }

    /// Ends those whose grace is over, but for those of nodes that the breaker holds; returns the nodes of those that were
    /// ended.
    pub(super) async fn end_all(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        refused: &[Refused<'_>],
        held: &HashSet<String>,
        now: i64,
    ) -> HashSet<String> {
        let mut ended = HashSet::new();
        let due = refused.iter().filter(|refused| refused.due);
        for refused in due.filter(|refused| !held.contains(refused.node)) {
            match self.end(attestor, cluster, refused, now).await {
                Ok(()) => drop(ended.insert(refused.node.to_owned())),
                Err(error) => {
                    let node = refused.node;
                    tracing::warn!(error = &*error, k8s.node = node, "a pod could not be ended");
                }
            }
        }
        ended
    }

    async fn end(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        refused: &Refused<'_>,
        now: i64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let pod = &refused.known.pod;
        let uid = refused.known.uid().to_owned();
        // Written first: what is not in the log does not happen.
        if !self.written.contains(&uid) {
            let held = refused.judged.and_then(|judged| judged.held.as_ref());
            let event = Event::PodEnded {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                pod: pod.metadata.name.clone().unwrap_or_default(),
                pod_uid: uid.clone(),
                node: refused.node.to_owned(),
                host: refused.judged.and_then(|judged| judged.host.clone()),
                policies: refused.policies.to_vec(),
                refusals: refused.refusals.iter().map(|f| f.code.clone()).collect(),
                result_entry: held.map(|held| held.entry),
            };
            write(attestor, &event, now).await?;
            self.written.insert(uid);
        }
        let own = pod.spec.termination_grace_period_seconds;
        let own = own.map_or(GRACE_SECONDS, |own| u32::try_from(own).unwrap_or(0));
        let grace = own.min(GRACE_SECONDS);
        if cluster.end_pod(pod, grace).await? {
            attestor.metrics.pod_ended();
            tracing::warn!(
                k8s.namespace = pod.metadata.namespace,
                k8s.pod = pod.metadata.name,
                k8s.node = pod.spec.node_name,
                "pod ended: {}",
                prose::summary(&refused.refusals)
            );
        }
        Ok(())
    }
}

/// How long pods stay on a node after they are refused there. A host that rebooted is to prove itself first: its agent
/// starts as the other pods do.
fn grace(config: &Config, judged: Option<&Judged>) -> Duration {
    let grace = Duration::from_secs(config.grace_seconds);
    let reboots = judged.is_some_and(|judged| judged.fault == Some(Fault::Rebooted));
    match reboots {
        true => grace.max(Duration::from_secs(config.reboot_grace_seconds)),
        false => grace,
    }
}

/// As the binding of a pod of these policies would be judged now, by its host. What registries say of its images was
/// judged when it was placed.
pub(super) fn refusals(
    policies: &PolicySet,
    selected: &[(&str, &WorkloadPolicy)],
    judged: Option<&Judged>,
    node: &str,
    now: i64,
) -> Vec<Finding> {
    let held = judged.and_then(|judged| judged.held.as_ref());
    let standing = held.map(|held| &held.standing);
    let behind = match judged.is_some_and(|judged| judged.host.is_some()) {
        true => Behind::Host(standing),
        false => Behind::Nobody(node),
    };
    refusals_of(policies, selected, behind, now)
}
