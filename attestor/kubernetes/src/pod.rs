//! Pods, as far as they are looked at.

use serde::{Deserialize, Serialize};

/// `PodSpec`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The node that it is bound to.
    #[serde(default)]
    pub node_name: Option<String>,
    /// What it waits for before a scheduler looks at it (Kubernetes 1.26).
    #[serde(default)]
    pub scheduling_gates: Vec<SchedulingGate>,
}

/// `PodSchedulingGate`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SchedulingGate {
    /// Who opens it.
    pub name: String,
}
