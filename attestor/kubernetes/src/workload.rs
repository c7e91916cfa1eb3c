//! Whose pods they are: by their controller and the label that it marks a revision with. API servers let whoever makes a
//! pod name any controller, and no label is theirs alone: it says whose pod one claims to be.

use std::collections::BTreeMap;

use kube::api::ObjectMeta as Held;
use touchstone_policies::admit::Workload;
use touchstone_policies::admit::workload::ALONE;

use crate::pod::ObjectMeta;

/// Labels that name a revision: of StatefulSets and DaemonSets, and of ReplicaSets.
const REVISIONS: [&str; 2] = ["controller-revision-hash", "pod-template-hash"];
/// Longest name of an object (RFC 1123 subdomain); what is longer is cut, since no controller makes it.
const NAME_MAX: usize = 253;

/// Of a pod in a review; `None`: it has neither a controller nor a uid.
pub(crate) fn of_reviewed(pod: &ObjectMeta) -> Option<Workload> {
    let mut owners = pod.owner_references.iter();
    let controller = owners.find(|owner| controls(&owner.kind, owner.controller));
    let named = match controller {
        Some(owner) => (&*owner.kind, &*owner.name, &*owner.uid),
        None => (ALONE, &*pod.name, pod.uid.as_deref()?),
    };
    Some(workload(named, controller.is_some(), &pod.labels))
}

/// Of a pod as the cluster has it.
#[must_use]
pub fn of_held(pod: &Held) -> Option<Workload> {
    let mut owners = pod.owner_references.iter().flatten();
    let controller = owners.find(|owner| controls(&owner.kind, owner.controller));
    let named = match controller {
        Some(owner) => (&*owner.kind, &*owner.name, &*owner.uid),
        None => (ALONE, pod.name.as_deref()?, pod.uid.as_deref()?),
    };
    let empty = BTreeMap::new();
    let labels = pod.labels.as_ref().unwrap_or(&empty);
    Some(workload(named, controller.is_some(), labels))
}

/// Whether a pod as the cluster has it is of `workload`, of a controller. Most are of another one, and are passed over by its uid.
pub(crate) fn is_of(pod: &Held, workload: &Workload) -> bool {
    let mut owners = pod.owner_references.iter().flatten();
    // Of a long name the workload has the beginning alone.
    let is_named = owners.any(|owner| {
        owner.uid.starts_with(&workload.uid) && owner.kind.starts_with(&workload.kind)
    });
    is_named && of_held(pod).as_ref() == Some(workload)
}

/// No pod makes pods: one that names another as its controller would be taken for that one.
fn controls(kind: &str, controller: Option<bool>) -> bool {
    controller == Some(true) && kind != ALONE
}

fn workload(
    (kind, name, uid): (&str, &str, &str),
    controlled: bool,
    labels: &BTreeMap<String, String>,
) -> Workload {
    let revision = REVISIONS.iter().find_map(|label| labels.get(*label));
    // A pod by itself is never made by another template.
    let revision = revision.filter(|_| controlled);
    Workload {
        kind: cut(kind),
        name: cut(name),
        uid: cut(uid),
        revision: revision.map(|revision| cut(revision)).unwrap_or_default(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::{Value, json};

    use super::*;

    /// The same, whether it is reviewed or held.
    fn both(metadata: &Value) -> Option<(String, String, String, String)> {
        let reviewed: ObjectMeta = serde_json::from_value(metadata.clone()).unwrap();
        let held: Held = serde_json::from_value(metadata.clone()).unwrap();
        let workload = of_reviewed(&reviewed);
        assert_eq!(workload, of_held(&held));
        if let Some(workload) = workload.as_ref().filter(|of| !of.is_alone()) {
            assert!(is_of(&held, workload));
            let mut other = workload.clone();
            other.uid.push('x');
            assert!(!is_of(&held, &other));
            (other.uid, other.revision) = (workload.uid.clone(), "another".to_owned());
            assert!(!is_of(&held, &other));
        }
        workload.map(|one| (one.kind, one.name, one.uid, one.revision))
    }

    fn four(parts: [&str; 4]) -> Option<(String, String, String, String)> {
        let [kind, name, uid, revision] = parts.map(str::to_owned);
        Some((kind, name, uid, revision))
    }

    #[test]
    fn a_pod_is_its_controller_s_in_one_revision_or_its_own() {
        let owner = |kind: &str, controller: bool| json!({ "apiVersion": "apps/v1", "kind": kind, "name": "api", "uid": "u1", "controller": controller });
        let mut pod = json!({ "name": "api-0", "uid": "u2", "labels": { "app": "api", "controller-revision-hash": "r1" } });
        assert_eq!(both(&pod), four(["Pod", "api-0", "u2", ""]));
        pod["ownerReferences"] = json!([owner("Node", false)]);
        assert_eq!(both(&pod), four(["Pod", "api-0", "u2", ""]));
        pod["ownerReferences"] = json!([owner("Node", false), owner("StatefulSet", true)]);
        assert_eq!(both(&pod), four(["StatefulSet", "api", "u1", "r1"]));
        pod["labels"] = json!({ "pod-template-hash": "r2" });
        assert_eq!(both(&pod), four(["StatefulSet", "api", "u1", "r2"]));
        pod["labels"] = json!({});
        assert_eq!(both(&pod), four(["StatefulSet", "api", "u1", ""]));
        // Without a controller and a uid nobody knows which it is.
        assert_eq!(both(&json!({ "name": "api-0" })), None);
    }

    #[test]
    fn a_pod_that_names_another_pod_as_its_controller_is_its_own() {
        let victim = json!({ "apiVersion": "v1", "kind": "Pod", "name": "api-0", "uid": "u1", "controller": true });
        let mut pod = json!({ "name": "other", "uid": "u2", "labels": { "pod-template-hash": "r1" }, "ownerReferences": [victim] });
        assert_eq!(both(&pod), four(["Pod", "other", "u2", ""]), "own-workload");
        // Of one that has no uid yet nobody knows which it is.
        pod["uid"] = json!(null);
        assert_eq!(both(&pod), None);
    }

    #[test]
    fn a_name_that_no_controller_makes_is_cut() {
        let long = "x".repeat(10_000);
        let owner = json!({ "apiVersion": "v1", "kind": long, "name": long, "uid": long, "controller": true });
        let pod = json!({ "name": "api-0", "labels": { "pod-template-hash": long }, "ownerReferences": [owner] });
        let cut = "x".repeat(NAME_MAX);
        assert_eq!(both(&pod), four([&*cut; 4]));
    }
}
