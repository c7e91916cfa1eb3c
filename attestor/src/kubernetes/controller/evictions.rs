//! The end of pods that may not stay where they run: their host turned, their node is another one, or policy changed.
//!
//! This is the look after the binding: what the watch showed too late then, it shows now.

mod pace;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::config::Config;
use touchstone_kubernetes::node::Node;
use touchstone_kubernetes::notice::Said;
use touchstone_policies::admit::{Behind, refusals_of};
use touchstone_policies::manifest::{PolicySet, WorkloadPolicy};
use touchstone_policies::prose;

use super::compared::Compared;
use super::integrity::Integrity;
use super::judged::{Fault, Judged};
use super::notices::Notices;
use super::pod_notices;
use super::pods::{Known, Looked, Meant};
use super::{Moment, write};
use crate::attestor::Attestor;
use crate::audit::Event;

use pace::Pace;

/// How long a round ends pods: an API server that is slow to must not keep nodes from being looked at.
const ENDING: Duration = Duration::from_secs(3);
/// Most seconds that a pod gets to end in, whatever it asks for.
const GRACE_SECONDS: u32 = 30;
/// What is said of a pod, and neither of its host nor of its place. Whoever may write the pod brings it about.
const OF_PODS: [&str; 3] = ["image-other-runs", "pod-leaves-policy", "workload-changed"];

/// Whether these refusals are of the pod alone. Such an end is nothing that a host or a policy did to a node.
pub(super) fn are_of_the_pod<'a>(mut codes: impl Iterator<Item = &'a str>) -> bool {
    let first = codes.next();
    first.is_some_and(|first| OF_PODS.contains(&first)) && codes.all(|code| OF_PODS.contains(&code))
}

/// Pods that are refused where they run, by uid.
pub(super) struct Evictions {
    /// Since when.
    refused: HashMap<String, Instant>,
    /// Those of them whose entry is written.
    written: HashSet<String>,
    pace: Pace,
    integrity: Integrity,
}

/// A pod that may not stay where it runs.
pub(super) struct Refused<'a> {
    known: Arc<Known>,
    pub(super) node: &'a str,
    judged: Option<&'a Judged>,
    /// Names of the policies that are for it.
    policies: Vec<String>,
    refusals: Vec<Finding>,
    /// Whether its grace is over.
    due: bool,
}

/// What became of a round's pods.
pub(super) struct Ended {
    /// Nodes that lost some for their host, their place or a policy.
    pub(super) lost: HashSet<String>,
    /// Nodes whose pods stay since too many are said to run another image.
    pub(super) kept: HashSet<String>,
}

impl Evictions {
    /// None yet. `integrity` finds out what nodes run.
    pub(super) fn new(integrity: Integrity) -> Self {
        Self {
            refused: HashMap::new(),
            written: HashSet::new(),
            pace: Pace::default(),
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
        let mut hosts = Hosts::new(&looked.policies, at.now);
        let bound = looked.bound.iter();
        let refused = bound.filter_map(|known| {
            let judged = by_name.get(known.node()).copied();
            let (policies, refusals) = self.refusals(&mut hosts, known, judged, compared);
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

    /// The policies that are for a pod, or were, and why it may not stay where it runs.
    fn refusals<'a>(
        &mut self,
        hosts: &mut Hosts<'a>,
        known: &'a Known,
        judged: Option<&Judged>,
        compared: &Compared,
    ) -> (Vec<String>, Vec<Finding>) {
        let mut names = compared.left(known.uid()).to_vec();
        let mut all = Vec::new();
        if let Some(meant) = &known.meant {
            let (selected, refusals) = hosts.refusals(meant, judged, known.node());
            all.clone_from(refusals);
            all.extend(self.integrity.refusals(selected, &meant.differing));
            names.extend_from_slice(&meant.policies);
        }
        all.extend_from_slice(compared.refusals(known.uid()));
        (names, all)
    }

    /// The nodes on which the end of a pod is not written yet, for its host, its place or a policy.
    pub(super) fn unwritten<'a>(&self, refused: &[Refused<'a>]) -> HashSet<&'a str> {
        let refused = refused.iter().filter(|it| it.due && !it.is_of_the_pod());
        let unwritten = refused.filter(|it| !self.written.contains(it.known.uid()));
        unwritten.map(|it| it.node).collect()
    }

    /// Ends those whose turn it is, of those whose grace is over; `held`: the nodes that the breaker holds.
    pub(super) async fn end_all(
        &mut self,
        (attestor, cluster, notices): (&Attestor, &Cluster, &mut Notices),
        refused: &[Refused<'_>],
        held: &HashSet<String>,
        at: Moment,
    ) -> Ended {
        let chosen = self.pace.choose(refused, held, &self.written, at);
        let mut ended = Ended {
            lost: HashSet::new(),
            kept: chosen.kept.into_iter().map(str::to_owned).collect(),
        };
        let begun = Instant::now();
        for refused in chosen.end {
            // Those that are left are judged anew by the next round, after it looked at nodes.
            if begun.elapsed() > ENDING {
                break;
            }
            let end = self.end((attestor, cluster, &mut *notices), refused, at.now);
            match end.await {
                // For what it is itself.
                Ok(()) if refused.is_of_the_pod() || held.contains(refused.node) => {}
                Ok(()) => drop(ended.lost.insert(refused.node.to_owned())),
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
        (attestor, cluster, notices): (&Attestor, &Cluster, &mut Notices),
        refused: &Refused<'_>,
        now: i64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let pod = &refused.known.pod;
        let uid = refused.known.uid().to_owned();
        // Written first: what is not in the log does not happen.
        if !self.written.contains(&uid) {
            let held = refused.judged.and_then(|judged| judged.held.as_ref());
            let event = Event::PodEnded {
                cluster: attestor.cluster.clone(),
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                pod: pod.metadata.name.clone().unwrap_or_default(),
                pod_uid: uid.clone(),
                node: refused.node.to_owned(),
                host: refused.judged.and_then(|judged| judged.host.clone()),
                policies: refused.policies.clone(),
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
            notices.of_pod(pod, refused.said(), now);
        }
        Ok(())
    }
}

impl Refused<'_> {
    fn said(&self) -> Said {
        let host = self.judged.and_then(|judged| judged.host.as_ref());
        pod_notices::ended(self.node, host, &self.refusals)
    }

    fn is_of_the_pod(&self) -> bool {
        let refusals = self.refusals.iter();
        are_of_the_pod(refusals.map(|finding| &*finding.code))
    }
}

/// The nodes that lose pods for what is said of their hosts, of their place or of a policy: those that the breaker counts.
pub(super) fn losing<'a>(refused: &[Refused<'a>]) -> HashSet<&'a str> {
    let counting = refused.iter().filter(|refused| !refused.is_of_the_pod());
    counting.map(|refused| refused.node).collect()
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

/// Policies, and what they make of nodes: found out once a round for all their pods.
struct Hosts<'a> {
    policies: &'a PolicySet,
    now: i64,
    selected: HashMap<&'a [String], Vec<(&'a str, &'a WorkloadPolicy)>>,
    /// By the names of policies and the node.
    refusals: HashMap<(&'a [String], &'a str), Vec<Finding>>,
}

impl<'a> Hosts<'a> {
    fn new(policies: &'a PolicySet, now: i64) -> Self {
        Self {
            policies,
            now,
            selected: HashMap::new(),
            refusals: HashMap::new(),
        }
    }

    /// The policies of a pod, and why its node is refused to them.
    fn refusals(
        &mut self,
        meant: &'a Meant,
        judged: Option<&Judged>,
        node: &'a str,
    ) -> (&[(&'a str, &'a WorkloadPolicy)], &Vec<Finding>) {
        let (policies, now) = (self.policies, self.now);
        let names = meant.policies.as_slice();
        let selected = self.selected.entry(names);
        let selected = &*selected.or_insert_with(|| meant.selected(policies));
        let found = || refusals(policies, selected, judged, node, now);
        let refusals = self.refusals.entry((names, node)).or_insert_with(found);
        (selected, refusals)
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
