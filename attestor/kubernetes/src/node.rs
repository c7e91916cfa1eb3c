//! Nodes: what is looked at in them.

use kube::Client;
use kube::api::{Api, ApiResource, GroupVersionKind, Object};
use serde::{Deserialize, Serialize};
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
    /// Another one for each boot; random.
    #[serde(rename = "bootID", default)]
    pub boot_id: String,
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
