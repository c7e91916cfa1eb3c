//! The scheduling gate: the scheduler does not look at the pod until it is taken away.
//!
//! Kubernetes has gates since 1.26; an older API server drops the field, and the pod waits in the scheduler's queue.

use serde_json::{Value, json};

use super::object::items;

/// Name of our gate.
const GATE: &str = "touchstone.dev/awaiting-verdict";

/// Holds the pod back; what was done, in words. A pod that has its node already cannot be held.
pub(super) fn hold(pod: &mut Value) -> Option<String> {
    let spec = pod.get_mut("spec")?.as_object_mut()?;
    let placed = spec.get("nodeName").and_then(Value::as_str);
    if placed.is_some_and(|node| !node.is_empty()) {
        return None;
    }
    let gates = items(spec, "schedulingGates")?;
    if gates
        .iter()
        .any(|gate| gate.get("name") == Some(&json!(GATE)))
    {
        return None;
    }
    gates.push(json!({ "name": GATE }));
    Some("waits until some host fits".to_owned())
}
