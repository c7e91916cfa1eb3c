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
use touchstone_kubernetes::pod;
use touchstone_kubernetes::pods::Pod;
use touchstone_policies::admit::{Admission, concerns_namespace, policies_for, refusals_of};
use touchstone_policies::manifest::PolicySet;
use touchstone_policies::prose;

use super::compared::Compared;
use super::integrity::Integrity;
use super::judged::{Fault, Judged};
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
    pod: Arc<Pod>,
    pub(super) node: String,
    judged: Option<&'a Judged>,
    admission: Admission,
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
        attestor: &Arc<Attestor>,
        cluster: &Cluster,
        judged: &'a [(Arc<Node>, Judged)],
        compared: &Compared,
        Moment { now, instant }: Moment,
    ) -> Vec<Refused<'a>> {
        let by_name: HashMap<&str, &Judged> = judged
            .iter()
            .filter_map(|(node, judged)| Some((node.metadata.name.as_deref()?, judged)))
            .collect();
        let policies = attestor.index.policies();
        let mut all = Vec::new();
        self.integrity.begin();
        for pod in cluster.bound_pods() {
            let node = pod.spec.node_name.clone().unwrap_or_default();
            let judged = by_name.get(&*node).copied();
            let mut admission = admission(&policies, &pod, judged, &node, now);
            let refusals = self.integrity.refusals(&policies, &pod, &admission);
            admission.refusals.extend(refusals);
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            let compared = compared.refusals(uid);
            admission.refusals.extend_from_slice(compared);
            let Some(uid) = pod.metadata.uid.clone().filter(|_| !admission.admitted()) else {
                continue;
            };
            let since = *self.refused.entry(uid).or_insert(instant);
            let grace = grace(cluster.config(), judged);
            all.push(Refused {
                pod,
                node,
                judged,
                admission,
                due: instant.duration_since(since) >= grace,
            });
        }
        self.integrity.ask(attestor);
        let uids: HashSet<&String> = all.iter().filter_map(Refused::uid).collect();
        self.refused.retain(|uid, _| uids.contains(uid));
        self.written.retain(|uid| uids.contains(uid));
        all
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
        for refused in due.filter(|refused| !held.contains(&refused.node)) {
            match self.end(attestor, cluster, refused, now).await {
                Ok(()) => drop(ended.insert(refused.node.clone())),
                Err(error) => {
                    let node = &refused.node;
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
        let (pod, admission) = (&refused.pod, &refused.admission);
        let uid = refused.uid().cloned().unwrap_or_default();
        // Written first: what is not in the log does not happen.
        if !self.written.contains(&uid) {
            let held = refused.judged.and_then(|judged| judged.held.as_ref());
            let event = Event::PodEnded {
                cluster: attestor.cluster.clone(),
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                pod: pod.metadata.name.clone().unwrap_or_default(),
                pod_uid: uid.clone(),
                node: refused.node.clone(),
                host: refused.judged.and_then(|judged| judged.host.clone()),
                policies: admission.policies.clone(),
                refusals: admission.refusals.iter().map(|f| f.code.clone()).collect(),
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
                prose::summary(&admission.refusals)
            );
        }
        Ok(())
    }
}

impl Refused<'_> {
    fn uid(&self) -> Option<&String> {
        self.pod.metadata.uid.as_ref()
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

/// As its binding would be judged now, by its host. What registries say of its images was judged when it was placed.
pub(super) fn admission(
    policies: &PolicySet,
    pod: &Pod,
    judged: Option<&Judged>,
    node: &str,
    now: i64,
) -> Admission {
    let mut admission = Admission {
        policies: Vec::new(),
        refusals: Vec::new(),
    };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if !concerns_namespace(policies, namespace) {
        return admission;
    }
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let facts = pod::facts(namespace, &labels, &pod.spec);
    let selected = policies_for(policies, &facts);
    if selected.is_empty() {
        return admission;
    }
    let held = judged.and_then(|judged| judged.held.as_ref());
    let standing = held.map(|held| &held.standing);
    admission.refusals = match judged.is_some_and(|judged| judged.host.is_some()) {
        true => refusals_of(policies, &selected, standing, now),
        false => vec![Finding::new("node-unmapped").about(node)],
    };
    let names = selected.into_iter().map(|(name, _)| name.to_owned());
    admission.policies = names.collect();
    admission
}
