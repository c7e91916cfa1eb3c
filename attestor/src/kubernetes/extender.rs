//! The scheduler extender (`k8s.io/kube-scheduler/extender/v1`): which nodes a pod may go to, and which are better.
//!
//! It steers, so that the scheduler does not choose in vain: nodes are judged as a binding to them is, and no entry is
//! written. A pod that it never saw is judged all the same when it is bound.

mod wire;

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::names::EXEMPT;
use touchstone_kubernetes::pod::Pod;
use touchstone_policies::admit::{Behind, PodFacts, policies_for_any, refusals_of, seconds_left};
use touchstone_policies::prose;

use super::Webhook;
use super::pod_memory::Recalled;
use crate::attestor::Attestor;
use crate::clock;
use wire::Nodes;
pub(crate) use wire::{Args, Filtered, HostPriority};

/// `MaxExtenderPriority`.
const SCORE_MAX: i64 = 10;

/// Tells the nodes that the pod may go to from the others, of which it says why not.
pub(crate) async fn filter(attestor: &Attestor, webhook: &Webhook, args: Args) -> Filtered {
    let Some(pod) = args.pod() else {
        return Filtered::error("the request's `Pod` cannot be read");
    };
    let pods = pods(webhook, &pod);
    let Some(nodes) = args.nodes() else {
        return Filtered::error("the request names no nodes; it needs `NodeNames` or `Nodes`");
    };
    let reasons = match doubt(attestor, webhook).filter(|_| !is_exempt(webhook, &pod)) {
        None => judge(attestor, &pods, &nodes.names()),
        // The policies may be others by now, and for any pod.
        Some(finding) => {
            attestor.note_refusal(&finding.code).await;
            let why = prose::sentence(&finding);
            nodes.names().iter().map(|_| Some(why.clone())).collect()
        }
    };
    nodes.filtered(reasons)
}

/// Why no node can be told from another.
fn doubt(attestor: &Attestor, webhook: &Webhook) -> Option<Finding> {
    match attestor.index.is_confirmed() {
        true => webhook.identity.doubt(),
        false => Some(Finding::new("standing-unconfirmed")),
    }
}

/// Why the pod may not go to each of the nodes; `None`: it may.
fn judge(attestor: &Attestor, pods: &[PodFacts], nodes: &[&str]) -> Vec<Option<String>> {
    let policies = attestor.index.policies();
    let selected = policies_for_any(&policies, pods);
    if selected.is_empty() {
        return vec![None; nodes.len()];
    }
    let now = clock::now();
    let refusals = attestor.index.judge_nodes(nodes, |node, host, standing| {
        let behind = match host {
            Some(_) => Behind::Host(standing),
            None => Behind::Nobody(node),
        };
        refusals_of(&policies, &selected, behind, now)
    });
    refusals
        .iter()
        .map(|refusals| (!refusals.is_empty()).then(|| prose::summary(refusals)))
        .collect()
}

/// Scores each node by how much longer its host may have the pod: ten where that is longest, zero where it may not.
pub(crate) fn prioritize(attestor: &Attestor, webhook: &Webhook, args: &Args) -> Vec<HostPriority> {
    let nodes = args.nodes();
    let names = nodes.as_ref().map(Nodes::names).unwrap_or_default();
    let pod = args.pod().filter(|_| attestor.index.is_confirmed());
    let left = match pod {
        Some(pod) => seconds(attestor, &pods(webhook, &pod), &names),
        None => vec![0; names.len()],
    };
    let longest = left.iter().copied().max().unwrap_or_default().max(1);
    let scores = left.into_iter().map(|left| left * SCORE_MAX / longest);
    names
        .into_iter()
        .zip(scores)
        .map(|(node, score)| HostPriority::new(node, score))
        .collect()
}

/// For how many more seconds each of the nodes may have the pod; zero: it may not, or no policy asks.
fn seconds(attestor: &Attestor, pods: &[PodFacts], nodes: &[&str]) -> Vec<i64> {
    let policies = attestor.index.policies();
    let selected = policies_for_any(&policies, pods);
    if selected.is_empty() {
        return vec![0; nodes.len()];
    }
    let now = clock::now();
    attestor.index.judge_nodes(nodes, |_, _, standing| {
        let fits = standing
            .filter(|_| refusals_of(&policies, &selected, Behind::Host(standing), now).is_empty());
        fits.map_or(0, |host| {
            seconds_left(&selected, host, now).clamp(0, i64::from(u32::MAX))
        })
    })
}

/// Whether the cluster and this attestor need such pods to come up again. The webhooks never see them; a scheduler asks
/// about every pod.
fn is_exempt(webhook: &Webhook, pod: &Pod) -> bool {
    let namespace = pod.metadata.namespace.as_str();
    let cluster = webhook.cluster.as_ref();
    let own = cluster.map_or("touchstone", |cluster| &cluster.config().namespace);
    namespace == own || EXEMPT.contains(&namespace)
}

/// The pod as it is, and with each set of labels that it was reviewed with: its binding is judged with those.
fn pods(webhook: &Webhook, pod: &Pod) -> Vec<PodFacts> {
    let metadata = &pod.metadata;
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let recalled = webhook
        .pods
        .recall(uid, &metadata.namespace, &metadata.name);
    let mut pods = match recalled {
        Recalled::Seen(pods) => pods,
        // What else it was seen with, its binding is judged by: as the cluster has it, or not at all.
        Recalled::Nothing | Recalled::TooMuch => Vec::new(),
    };
    pods.push(pod.facts(&metadata.namespace));
    pods
}
