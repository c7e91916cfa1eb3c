//! Pods, as far as they are looked at.

use serde::{Deserialize, Serialize};

/// `PodSpec`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The node that it is bound to.
    #[serde(default)]
    pub node_name: Option<String>,
}
