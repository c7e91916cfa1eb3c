//! What is written onto nodes: our labels and our taint.
//!
//! Each write says what it changes, and of the list of taints how it was seen: whatever else changes on a node meanwhile,
//! and a kubelet may change its own all the time, keeps nothing of ours off.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation, TestOperation};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterError};
use crate::names::{MANAGER, TAINT, is_ours};
use crate::node::{self, Node, Taint};

/// How often a write is tried on a node whose taints or labels change between the look and the write.
const TRIES: usize = 4;

/// What we want to be written on a node. Labels and taints of others stay as they are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// Our labels, all of them.
    pub labels: BTreeMap<String, String>,
    /// The value of our taint; none: it is not tainted.
    pub taint: Option<&'static str>,
    /// Whether the taint ends the pods that are there (`NoExecute`).
    pub execute: bool,
    /// When that is, RFC 3339, if it is to stand beside the taint that ends pods.
    pub since: Option<String>,
}

impl Marks {
    /// What must change on `node`; none: all is as it should be.
    #[must_use]
    pub fn patch(&self, node: &Node) -> Option<json_patch::Patch> {
        let mut changes = self.label_changes(node);
        changes.extend(self.taint_changes(node));
        if changes.is_empty() {
            return None;
        }
        // Another node of the name is none that this was meant for.
        let mut patch = vec![test(&["metadata", "uid"], json!(node.metadata.uid))];
        patch.extend(changes);
        Some(json_patch::Patch(patch))
    }

    /// One for each label.
    fn label_changes(&self, node: &Node) -> Vec<PatchOperation> {
        let held = node.metadata.labels.clone().unwrap_or_default();
        let stale = held
            .keys()
            .filter(|key| is_ours(key) && !self.labels.contains_key(*key));
        let stale = stale.map(|key| remove(&["metadata", "labels", key]));
        let new = self.labels.iter();
        let new = new.filter(|(key, value)| held.get(*key) != Some(value));
        let new = new.map(|(key, value)| add(&["metadata", "labels", key], json!(value)));
        let mut changes: Vec<PatchOperation> = stale.chain(new).collect();
        if !changes.is_empty() && node.metadata.labels.is_none() {
            let labels = ["metadata", "labels"];
            changes.splice(..0, [test(&labels, Value::Null), add(&labels, json!({}))]);
        }
        changes
    }

    /// Taints are one list: it is replaced only as it was seen.
    fn taint_changes(&self, node: &Node) -> Vec<PatchOperation> {
        let taints = self.taints(node);
        if taints == node.spec.taints {
            return Vec::new();
        }
        let path = ["spec", "taints"];
        let seen = match node.spec.taints.is_empty() {
            true => Value::Null,
            false => json!(node.spec.taints),
        };
        vec![test(&path, seen), add(&path, json!(taints))]
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
                    time_added: self.since.clone().filter(|_| *effect == "NoExecute"),
                    ..Taint::default()
                });
            }
        }
        taints
    }
}

fn test(path: &[&str], value: Value) -> PatchOperation {
    let path = PointerBuf::from_tokens(path.iter().copied());
    PatchOperation::Test(TestOperation { path, value })
}

/// Instead of what is there, if something is.
fn add(path: &[&str], value: Value) -> PatchOperation {
    let path = PointerBuf::from_tokens(path.iter().copied());
    PatchOperation::Add(AddOperation { path, value })
}

fn remove(path: &[&str]) -> PatchOperation {
    let path = PointerBuf::from_tokens(path.iter().copied());
    PatchOperation::Remove(RemoveOperation { path })
}

impl Cluster {
    /// Writes `marks` on `node` where they are not there yet; says whether it wrote. What is other by then than was seen is
    /// looked at again at once, a few times.
    pub async fn mark(&self, node: &Node, marks: &Marks) -> Result<bool, ClusterError> {
        let Some(name) = &node.metadata.name else {
            return Ok(false);
        };
        let mut wrote = self.try_to_mark(name, node, marks).await;
        for _ in 1..TRIES {
            if !wrote.as_ref().is_err_and(is_behind) {
                break;
            }
            // One that was made anew under the name is judged first.
            let found = self.node_now(name).await?;
            let Some(found) = found.filter(|found| found.metadata.uid == node.metadata.uid) else {
                return Ok(false);
            };
            wrote = self.try_to_mark(name, &found, marks).await;
        }
        wrote
    }

    async fn try_to_mark(
        &self,
        name: &str,
        node: &Node,
        marks: &Marks,
    ) -> Result<bool, ClusterError> {
        let Some(patch) = marks.patch(node) else {
            return Ok(false);
        };
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = node::api(&self.client);
        let patch = Patch::<()>::Json(patch);
        self.look(api.patch(name, &parameters, &patch)).await?;
        Ok(true)
    }
}

/// Whether the node is not as it was seen: a test of the patch failed (422), or another write was in between (409).
fn is_behind(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Api(kube::Error::Api(status)) if [409, 422].contains(&status.code))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::names::{TIER, region_label};

    fn node(labels: Value, taints: Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": "a", "uid": "u", "resourceVersion": "7", "labels": labels },
            "spec": { "taints": taints },
        })
    }

    fn marks(tier: &str, taint: Option<&'static str>, execute: bool) -> Marks {
        let labels = BTreeMap::from([(TIER.to_owned(), tier.to_owned())]);
        Marks {
            labels,
            taint,
            execute,
            since: Some("2026-01-02T00:00:00Z".to_owned()),
        }
    }

    fn patch(marks: &Marks, seen: &Value) -> Option<json_patch::Patch> {
        marks.patch(&serde_json::from_value(seen.clone()).unwrap())
    }

    /// The node after a patch that was made for `seen`; `None`: it was refused.
    fn written(marks: &Marks, seen: &Value, now: &Value) -> Option<Value> {
        let mut now = now.clone();
        json_patch::patch(&mut now, &patch(marks, seen).unwrap()).ok()?;
        Some(now)
    }

    #[test]
    fn labels_that_we_did_not_write_go_and_those_of_others_stay() {
        let copied = region_label("germany").unwrap();
        let seen = node(
            json!({ "zone": "a", copied.clone(): "true", TIER: "affirming" }),
            json!([]),
        );
        let node = written(&marks("none", None, false), &seen, &seen).unwrap();
        assert_eq!(
            node["metadata"]["labels"],
            json!({ "zone": "a", TIER: "none" })
        );
        // Where there were none at all.
        let mut bare = seen.clone();
        bare["metadata"]["labels"] = Value::Null;
        let node = written(&marks("none", None, false), &bare, &bare).unwrap();
        assert_eq!(node["metadata"]["labels"], json!({ TIER: "none" }));
    }

    #[test]
    fn taints_of_others_stay_and_ours_follow() {
        let other = json!({ "key": "gpu", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z", "new": 1 });
        let bare = node(json!({ TIER: "none" }), json!([other]));
        let untrusted = marks("none", Some("untrusted"), true);
        let done = written(&untrusted, &bare, &bare).unwrap();
        let taints = done["spec"]["taints"].as_array().unwrap();
        assert_eq!(taints[0], other);
        let ours: Vec<_> = taints[1..]
            .iter()
            .map(|t| t["effect"].as_str().unwrap())
            .collect();
        assert_eq!(ours, ["NoSchedule", "NoExecute"]);
        // Done: nothing to write. Another value: both are exchanged. Trusted: both go.
        assert_eq!(patch(&untrusted, &done), None);
        let rebooted = written(&marks("none", Some("rebooted"), false), &done, &done).unwrap();
        let taints = rebooted["spec"]["taints"].as_array().unwrap();
        assert_eq!((taints.len(), &taints[1]["value"]), (2, &json!("rebooted")));
        let trusted = written(&marks("none", None, false), &done, &done).unwrap();
        assert_eq!(trusted["spec"]["taints"], json!([other]));
    }

    #[test]
    fn what_a_kubelet_writes_meanwhile_keeps_no_taint_off() {
        let seen = node(
            json!({ "zone": "a" }),
            json!([{ "key": "gpu", "effect": "NoSchedule" }]),
        );
        let untrusted = marks("none", Some("untrusted"), true);
        let mut now = seen.clone();
        now["metadata"]["resourceVersion"] = json!("99");
        now["metadata"]["labels"] = json!({ "zone": "b", "busy": "1" });
        now["status"] = json!({ "phase": "Running" });
        let node = written(&untrusted, &seen, &now).unwrap();
        assert_eq!(node["spec"]["taints"].as_array().unwrap().len(), 3);
        assert_eq!(node["metadata"]["labels"]["busy"], "1");
        // Taints that changed are looked at again, and another node of the name is another one.
        let mut tainted = now.clone();
        tainted["spec"]["taints"] = json!([]);
        assert_eq!(written(&untrusted, &seen, &tainted), None);
        now["metadata"]["uid"] = json!("v");
        assert_eq!(written(&untrusted, &seen, &now), None);
    }
}
