//! Nodes: what is looked at in them, and what is written onto them.

use std::collections::BTreeMap;

use kube::api::{Api, ApiResource, GroupVersionKind, Object, Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterError};
use crate::names::{MANAGER, TAINT, is_ours};
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
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
}

/// What we want to be written on a node. Labels and taints of others stay as they are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// Our labels, all of them.
    pub labels: BTreeMap<String, String>,
    /// The value of our taint; none: it is not tainted.
    pub taint: Option<&'static str>,
    /// Whether the taint ends the pods that are there (`NoExecute`).
    pub execute: bool,
}

/// How nodes are asked for.
pub(crate) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Node"), "nodes")
}

impl Marks {
    /// What is written on `node` now.
    #[must_use]
    pub fn of(node: &Node) -> Vec<(String, String)> {
        let labels = node.metadata.labels.iter().flatten();
        labels
            .filter(|(key, _)| is_ours(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// What must change on `node`, as a JSON merge patch; none: all is as it should be.
    #[must_use]
    pub fn patch(&self, node: &Node) -> Option<Value> {
        let mut labels = serde_json::Map::new();
        for (key, _) in Self::of(node) {
            if !self.labels.contains_key(&key) {
                labels.insert(key, Value::Null);
            }
        }
        let held = node.metadata.labels.clone().unwrap_or_default();
        for (key, value) in &self.labels {
            if held.get(key) != Some(value) {
                labels.insert(key.clone(), value.clone().into());
            }
        }
        let taints = self.taints(node);
        if labels.is_empty() && taints == node.spec.taints {
            return None;
        }
        // Taints are one list: it is replaced only as it was seen.
        Some(json!({
            "metadata": { "resourceVersion": node.metadata.resource_version, "labels": labels },
            "spec": { "taints": taints },
        }))
    }

    fn taints(&self, node: &Node) -> Vec<Taint> {
        let mut taints = node.spec.taints.clone();
        let effects: &[&str] = match (self.taint, self.execute) {
            (None, _) => &[],
            (Some(_), false) => &["NoSchedule"],
            (Some(_), true) => &["NoSchedule", "NoExecute"],
        };
        let value = self.taint.unwrap_or_default();
        taints.retain(|taint| {
            taint.key != TAINT || (taint.value == value && effects.contains(&&*taint.effect))
        });
        for effect in effects {
            if !taints.iter().any(|t| t.key == TAINT && t.effect == *effect) {
                taints.push(Taint {
                    key: TAINT.to_owned(),
                    value: value.to_owned(),
                    effect: (*effect).to_owned(),
                    time_added: None,
                });
            }
        }
        taints
    }
}

impl Cluster {
    /// Writes `marks` on `node` where they are not there yet. Says whether it wrote; a node that changed meanwhile is
    /// an error, and is seen anew with the next look.
    pub async fn mark(&self, node: &Node, marks: &Marks) -> Result<bool, ClusterError> {
        let (Some(name), Some(patch)) = (&node.metadata.name, marks.patch(node)) else {
            return Ok(false);
        };
        let api = Api::<Node>::all_with(self.client.clone(), &resource());
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        self.look(api.patch(name, &parameters, &patch)).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::names::{TIER, region_label};

    fn node(labels: Value, taints: Value) -> Node {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": "a", "resourceVersion": "7", "labels": labels },
            "spec": { "taints": taints },
        });
        serde_json::from_value(node).unwrap()
    }

    fn marks(tier: &str, taint: Option<&'static str>, execute: bool) -> Marks {
        let labels = BTreeMap::from([(TIER.to_owned(), tier.to_owned())]);
        Marks {
            labels,
            taint,
            execute,
        }
    }

    #[test]
    fn labels_that_we_did_not_write_go_and_those_of_others_stay() {
        let copied = region_label("germany").unwrap();
        let node = node(
            json!({ "zone": "a", copied.clone(): "true", TIER: "affirming" }),
            json!([]),
        );
        let patch = marks("none", None, false).patch(&node).unwrap();
        let labels = &patch["metadata"]["labels"];
        assert_eq!(labels[&copied], Value::Null);
        assert_eq!(labels[TIER], "none");
        assert!(labels.get("zone").is_none());
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn taints_of_others_stay_and_ours_follow() {
        let other =
            json!({ "key": "gpu", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z" });
        let bare = node(json!({ TIER: "none" }), json!([other]));
        let patch = marks("none", Some("untrusted"), true).patch(&bare).unwrap();
        let taints = patch["spec"]["taints"].as_array().unwrap();
        assert_eq!(taints[0], other);
        let ours: Vec<_> = taints[1..]
            .iter()
            .map(|t| t["effect"].as_str().unwrap())
            .collect();
        assert_eq!(ours, ["NoSchedule", "NoExecute"]);
        // Done: nothing to write. Another value: both are exchanged. Trusted: both go.
        let done = node(json!({ TIER: "none" }), patch["spec"]["taints"].clone());
        assert_eq!(marks("none", Some("untrusted"), true).patch(&done), None);
        let patch = marks("none", Some("rebooted"), false).patch(&done).unwrap();
        let taints = patch["spec"]["taints"].as_array().unwrap();
        assert_eq!((taints.len(), &taints[1]["value"]), (2, &json!("rebooted")));
        let patch = marks("none", None, false).patch(&done).unwrap();
        assert_eq!(patch["spec"]["taints"], json!([other]));
    }
}
