//! Nodes: what is looked at in them.

use std::sync::Once;

use kube::Client;
use kube::api::{Api, ApiResource, GroupVersionKind, Object};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::lenient::Lenient;
use crate::pod::null_is_empty;

/// A node.
pub type Node = Object<NodeSpec, NodeStatus>;

/// `NodeSpec`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct NodeSpec {
    /// What keeps pods away.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub taints: Vec<Taint>,
}

/// `NodeStatus`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// What the kubelet says of its machine.
    #[serde(default)]
    pub node_info: Option<NodeInfo>,
}

/// `NodeSystemInfo`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct NodeInfo {
    /// Another one for each boot; random. Empty: the kubelet does not say, or says too much.
    #[serde(rename = "bootID", default, deserialize_with = "boot_id")]
    pub boot_id: String,
}

/// Longest `bootID` that is read, bytes; Linux has 36 (`/proc/sys/kernel/random/boot_id`).
const BOOT_ID_MAX: usize = 128;

/// What is too long is none, nor is what is not printable ASCII: kubelets write any text, each is kept, and a database takes no
/// NUL.
fn boot_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    static TOLD: Once = Once::new();
    let sent = String::deserialize(deserializer)?;
    if sent.len() <= BOOT_ID_MAX && sent.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(sent);
    }
    let bytes = sent.len();
    TOLD.call_once(|| {
        tracing::warn!(
            "a node reports a bootID of {bytes} bytes; such of more than {BOOT_ID_MAX}, or of other than printable ASCII, are not read"
        )
    });
    Ok(String::new())
}

/// `Taint`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// What it is of.
    pub key: String,
    /// Which kind of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// When it was put there, as the API server wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
    /// What is not looked at goes back as it came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How nodes are asked for.
pub(crate) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Node"), "nodes")
}

/// Where nodes are asked for.
pub(crate) fn api(client: &Client) -> Api<Lenient<NodeSpec, NodeStatus>> {
    Api::all_with(client.clone(), &resource())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_boot_id_that_no_kernel_makes_is_none() {
        let read = |boot_id: &str| {
            let status = json!({ "nodeInfo": { "bootID": boot_id } });
            let status: NodeStatus = serde_json::from_value(status).unwrap();
            status.node_info.unwrap().boot_id
        };
        for (length, kept) in [(36, 36), (128, 128), (129, 0), (1_000_000, 0)] {
            assert_eq!(read(&"a".repeat(length)).len(), kept);
        }
        let made = "2f1e9a3c-6f0b-4d29-9c1e-0a1b2c3d4e5f";
        assert_eq!(read(made), made);
        for other in ["\0", "a\0b", "a\nb", "a b", "\u{7f}", "\u{e9}"] {
            assert_eq!(read(other), "", "{other:?}");
        }
    }
}
