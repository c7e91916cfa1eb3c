//! Pods that wait for a host that fits: once there is one, schedulers may look at them.

use std::collections::HashMap;
use std::sync::Arc;

use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::node::Node;

use super::evictions::refusals;
use super::judged::Judged;
use super::pods::{Looked, Meant};

/// Most gates that are opened in one round: each is a request, and others wait behind it.
const OPENED_MAX: usize = 20;

/// Opens the gate of each pod that some node would be admitted for, and of those that no policy is for any more.
pub(super) async fn round(
    cluster: &Cluster,
    looked: &Looked,
    judged: &[(Arc<Node>, Judged)],
    now: i64,
) {
    let mut fitting = HashMap::new();
    let mut tried = 0;
    for known in &looked.gated {
        if tried == OPENED_MAX {
            return;
        }
        let fits = known.meant.as_ref().is_none_or(|meant| {
            // What a host is asked for stands in the policies: the same for all their pods.
            let fits = || fits_somewhere(looked, meant, judged, now);
            *fitting.entry(&meant.policies).or_insert_with(fits)
        });
        if !fits {
            continue;
        }
        let pod = &known.pod;
        tried += 1;
        if let Err(error) = cluster.open_gate(pod).await {
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

/// Whether a pod of these policies would be let onto any node.
pub(super) fn fits_somewhere(
    looked: &Looked,
    meant: &Meant,
    judged: &[(Arc<Node>, Judged)],
    now: i64,
) -> bool {
    let selected = meant.selected(&looked.policies);
    judged.iter().any(|(node, judged)| {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        refusals(&looked.policies, &selected, Some(judged), name, now).is_empty()
    })
}
