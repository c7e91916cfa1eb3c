//! Annotations that say which policies are for a pod and what was changed in it. They are for people: whoever may
//! write the pod may write them, and nothing is decided by them.

use serde_json::Value;

use super::object::child;

/// Names of the policies.
const POLICIES: &str = "touchstone.dev/policies";
/// What was changed, a JSON list of words.
const CHANGED: &str = "touchstone.dev/changed";
/// Most bytes of it: an object with too many annotations is refused.
const CHANGED_MAX: usize = 4 << 10;

/// Writes them into the pod; what an earlier call noted stays.
pub(super) fn write(pod: &mut Value, policies: &[&str], changes: Vec<String>) -> Option<()> {
    let metadata = child(pod.as_object_mut()?, "metadata")?;
    let annotations = child(metadata, "annotations")?;
    annotations.insert(POLICIES.to_owned(), policies.join(", ").into());
    let mut noted: Vec<String> = annotations
        .get(CHANGED)
        .and_then(Value::as_str)
        .and_then(|noted| serde_json::from_str(noted).ok())
        .unwrap_or_default();
    let before = noted.len();
    for change in changes {
        let taken: usize = noted.iter().map(String::len).sum();
        if !noted.contains(&change) && taken + change.len() <= CHANGED_MAX {
            noted.push(change);
        }
    }
    if noted.len() > before {
        let noted = serde_json::to_string(&noted).ok()?;
        annotations.insert(CHANGED.to_owned(), noted.into());
    }
    Some(())
}
