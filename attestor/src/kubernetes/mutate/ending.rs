//! How long a pod may take to end: what it holds in memory must be gone soon after its host is no longer trusted.

use serde_json::Value;

/// What a pod gets that does not say, seconds (Kubernetes API, `PodSpec`).
const DEFAULT: i64 = 30;

/// Lowers the pod's own time to `limit` seconds; what was done, in words.
pub(super) fn hasten(pod: &mut Value, limit: i64) -> Option<String> {
    let spec = pod.get_mut("spec")?.as_object_mut()?;
    let seconds = match spec.get("terminationGracePeriodSeconds") {
        None | Some(Value::Null) => DEFAULT,
        Some(seconds) => seconds.as_i64()?,
    };
    if seconds <= limit {
        return None;
    }
    spec.insert("terminationGracePeriodSeconds".to_owned(), limit.into());
    Some(format!("{limit} s to end, not {seconds}"))
}
