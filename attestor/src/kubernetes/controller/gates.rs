//! Pods that wait for a host that fits: once there is one, schedulers may look at them.

use std::sync::Arc;

use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::node::Node;

use super::evictions::admission;
use super::judged::Judged;
use crate::attestor::Attestor;

/// Most gates that are opened in one round: each is a request, and others wait behind it.
const OPENED_MAX: usize = 20;

/// Opens the gate of each pod that some node would be admitted for, and of those that no policy is for any more.
pub(super) async fn round(
    attestor: &Attestor,
    cluster: &Cluster,
    judged: &[(Arc<Node>, Judged)],
    now: i64,
) {
    let policies = attestor.index.policies();
    let mut tried = 0;
    for pod in cluster.gated_pods() {
        if tried == OPENED_MAX {
            return;
        }
        let fits = |(node, judged): &(Arc<Node>, Judged)| {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            admission(&policies, &pod, Some(judged), name, now).admitted()
        };
        if !judged.iter().any(fits) {
            continue;
        }
        tried += 1;
        if let Err(error) = cluster.open_gate(&pod).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                k8s.namespace = pod.metadata.namespace,
                k8s.pod = pod.metadata.name,
                "the gate of a pod could not be opened"
            );
        }
    }
}
