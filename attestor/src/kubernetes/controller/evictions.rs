//! The end of pods that may not stay where they run: their host turned, their node is another one, or policy changed.
//!
//! This is the look after the binding: what the watch showed too late then, it shows now.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::node::Node;
use touchstone_kubernetes::pod;
use touchstone_kubernetes::pods::Pod;
use touchstone_policies::admit::{Admission, concerns_namespace, policies_for, refusals_of};
use touchstone_policies::manifest::PolicySet;
use touchstone_policies::prose;

use super::compared::Compared;
use super::judged::Judged;
use super::{Moment, integrity, write};
use crate::attestor::Attestor;
use crate::audit::Event;

/// Most seconds that a pod gets to end in, whatever it asks for.
const GRACE_SECONDS: u32 = 30;

/// Pods that are refused where they run, by uid.
#[derive(Default)]
pub(super) struct Evictions {
    /// Since when.
    refused: HashMap<String, Instant>,
    /// Those of them whose entry is written.
    written: HashSet<String>,
}

impl Evictions {
    /// Ends pods that were refused for the whole grace, but for those of nodes that the breaker holds.
    pub(super) async fn round(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        judged: &[(Arc<Node>, Judged)],
        held: &HashSet<String>,
        compared: &Compared,
        Moment { now, instant }: Moment,
    ) {
        let by_name: HashMap<&str, &Judged> = judged
            .iter()
            .filter_map(|(node, judged)| Some((node.metadata.name.as_deref()?, judged)))
            .collect();
        let policies = attestor.index.policies();
        let mut seen = HashSet::new();
        for pod in cluster.bound_pods() {
            let Some(uid) = pod.metadata.uid.clone() else {
                continue;
            };
            let node = pod.spec.node_name.clone().unwrap_or_default();
            let judged = by_name.get(&*node).copied();
            let mut admission = admission(&policies, &pod, judged, &node, now);
            admission
                .refusals
                .extend_from_slice(compared.refusals(&uid));
            if admission.admitted() {
                continue;
            }
            seen.insert(uid.clone());
            let since = *self.refused.entry(uid.clone()).or_insert(instant);
            let grace = Duration::from_secs(cluster.config().grace_seconds);
            if held.contains(&node) || instant.duration_since(since) < grace {
                continue;
            }
            let ended = self
                .end(attestor, cluster, &pod, uid, judged, &admission, now)
                .await;
            if let Err(error) = ended {
                tracing::warn!(error = &*error, k8s.node = node, "a pod could not be ended");
            }
        }
        self.refused.retain(|uid, _| seen.contains(uid));
        self.written.retain(|uid| seen.contains(uid));
    }

    #[expect(clippy::too_many_arguments, reason = "what is written down, and where")]
    async fn end(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        pod: &Pod,
        uid: String,
        judged: Option<&Judged>,
        admission: &Admission,
        now: i64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Written first: what is not in the log does not happen.
        if !self.written.contains(&uid) {
            let event = Event::PodEnded {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                pod: pod.metadata.name.clone().unwrap_or_default(),
                pod_uid: uid.clone(),
                node: pod.spec.node_name.clone().unwrap_or_default(),
                host: judged.and_then(|judged| judged.host.clone()),
                policies: admission.policies.clone(),
                refusals: admission.refusals.iter().map(|f| f.code.clone()).collect(),
                result_entry: judged
                    .and_then(|judged| judged.held.as_ref())
                    .map(|held| held.entry),
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

/// As its binding would be judged now, by its host; and by what it runs. What registries say of its images was judged when
/// it was placed.
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
    if selected.iter().any(|(_, policy)| policy.images.is_some()) {
        admission.refusals.extend(integrity::refusals(pod, &facts));
    }
    let names = selected.into_iter().map(|(name, _)| name.to_owned());
    admission.policies = names.collect();
    admission
}
