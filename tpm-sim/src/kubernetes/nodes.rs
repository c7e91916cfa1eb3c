//! Nodes that are only entries: ready, with room, and nothing behind them.

use serde_json::json;

use super::{Api, Result};

const NODES: &str = "/api/v1/nodes";
/// By which pods are sent to one node.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// Makes a node that is ready and takes pods.
///
/// # Errors
/// The API server refuses.
pub async fn join(api: &Api, name: &str) -> Result<()> {
    let node = json!({ "metadata": { "name": name, "labels": { HOSTNAME: name } } });
    api.create(NODES, &node).await?;
    let room = json!({ "cpu": "16", "memory": "64Gi", "pods": "250" });
    let ready = json!({ "type": "Ready", "status": "True", "reason": "KubeletReady" });
    let status = json!({ "capacity": room, "allocatable": room, "conditions": [ready] });
    let path = path(name);
    api.patch(&format!("{path}/status"), &json!({ "status": status }))
        .await?;
    // What the API server put there while it was not ready.
    api.patch(&path, &json!({ "spec": { "taints": null } }))
        .await?;
    Ok(())
}

/// Where a node is.
#[must_use]
pub fn path(name: &str) -> String {
    format!("{NODES}/{name}")
}
