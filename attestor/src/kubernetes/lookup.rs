//! What the cluster says of a pod that is to be bound and of the node that is chosen for it.

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::{Cluster, ClusterError, Found};
use touchstone_kubernetes::{pod, workload};
use touchstone_policies::admit::PodFacts;

use crate::attestor::Attestor;
use crate::trust_index::OnNode;

/// The pod with everything that it may be: as reviews said, `seen`, and as the cluster has it. What the watch does not
/// show yet, reviews said; what other replicas were asked, the watch shows.
pub(super) async fn pods(
    cluster: Option<&Cluster>,
    seen: Vec<PodFacts>,
    (namespace, name, uid): (&str, &str, &str),
) -> Result<Vec<PodFacts>, Finding> {
    let mut pods = seen;
    if let Some(cluster) = cluster {
        let found = cluster.pod(namespace, name, uid).await;
        let found = match found.map_err(away)? {
            Found::It(pod) => pod,
            Found::Another => return Err(Finding::new("pod-replaced")),
            Found::Nothing => return Err(Finding::new("pod-elsewhere")),
        };
        let labels = found.metadata.labels.clone().unwrap_or_default();
        let held = PodFacts {
            workload: workload::of_held(&found.metadata),
            ..pod::facts(namespace, &labels, &found.spec)
        };
        if !pods.contains(&held) {
            pods.push(held);
        }
    }
    match pods.is_empty() {
        true => Err(Finding::new("pod-unknown")),
        false => Ok(pods),
    }
}

/// The host behind a node, and how it stands there: where there is a cluster, behind the very node that has the name now.
pub(super) async fn host(
    attestor: &Attestor,
    cluster: Option<&Cluster>,
    node: &str,
) -> Result<Option<OnNode>, Finding> {
    let Some(cluster) = cluster else {
        return Ok(attestor.index.on_node_named(node));
    };
    // Not as it is held: a watch that hangs would show the node that was there before.
    let found = cluster.node_now(node).await.map_err(away)?;
    let uid = found.and_then(|node| node.metadata.uid.clone());
    Ok(uid.and_then(|uid| attestor.index.on_node(node, &uid)))
}

fn away(error: ClusterError) -> Finding {
    let absent = error.is_absence();
    let error = &error as &dyn std::error::Error;
    let what = "the API server does not say what is asked about";
    match absent {
        true => tracing::debug!(error, "{what}"),
        false => tracing::warn!(error, "{what}"),
    }
    Finding::new("cluster-unanswered")
}
