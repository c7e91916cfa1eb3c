//! Whether somebody touched what we write on nodes.

use std::collections::BTreeMap;

use crate::names::{LABELS, TAINT};
use crate::node::Node;

/// The first of our labels and taints by which `node` differs from what it was `before`; `None`: they are the same. A
/// taint that a new node brings is none of it: it keeps pods away until the node proved itself.
#[must_use]
pub fn touched(before: Option<&Node>, node: &Node) -> Option<String> {
    let old_labels = before.map(labels).unwrap_or_default();
    let new_labels = labels(node);
    let mut names = old_labels.keys().chain(new_labels.keys());
    if let Some(label) = names.find(|name| old_labels.get(*name) != new_labels.get(*name)) {
        return Some((*label).to_owned());
    }
    let touched = before.is_some_and(|before| taints(before) != taints(node));
    touched.then(|| TAINT.to_owned())
}

fn labels(node: &Node) -> BTreeMap<&str, &str> {
    let all = node.metadata.labels.iter().flatten();
    let ours = all.filter(|(key, _)| key.starts_with(LABELS));
    ours.map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

/// Sorted: their order says nothing. When one was put there is not what it says.
fn taints(node: &Node) -> Vec<(&str, &str)> {
    let ours = node.spec.taints.iter().filter(|taint| taint.key == TAINT);
    let mut ours: Vec<(&str, &str)> = ours.map(|t| (&*t.value, &*t.effect)).collect();
    ours.sort_unstable();
    ours
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::{Value, json};

    use super::*;

    use crate::names::TIER;

    fn node(labels: &Value, taints: &Value) -> Node {
        let node =
            json!({ "metadata": { "name": "n", "labels": labels }, "spec": { "taints": taints } });
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn a_label_of_ours_that_was_set_changed_or_taken_away_is_seen() {
        let bare = node(&json!({ "zone": "a" }), &json!(null));
        let affirming = node(&json!({ TIER: "affirming" }), &json!(null));
        let other = node(&json!({ TIER: "warning" }), &json!(null));
        for (old, new) in [
            (&bare, &affirming),
            (&affirming, &bare),
            (&affirming, &other),
        ] {
            assert_eq!(touched(Some(old), new).as_deref(), Some(TIER));
        }
        assert_eq!(touched(None, &affirming).as_deref(), Some(TIER));
        assert_eq!(touched(Some(&affirming), &affirming), None);
        assert_eq!(touched(None, &bare), None);
    }

    #[test]
    fn a_taint_of_ours_that_was_set_changed_or_taken_away_is_seen() {
        let taint =
            |value: &str, effect: &str| json!({ "key": TAINT, "value": value, "effect": effect });
        let foreign = json!({ "key": "example.org/a", "effect": "NoSchedule" });
        let bare = node(&json!({}), &json!([foreign]));
        let tainted = node(
            &json!({}),
            &json!([taint("new", "NoSchedule"), taint("new", "NoExecute")]),
        );
        let turned = node(
            &json!({}),
            &json!([
                taint("new", "NoExecute"),
                foreign,
                taint("new", "NoSchedule")
            ]),
        );
        let weaker = node(&json!({}), &json!([taint("new", "NoSchedule")]));
        for (old, new) in [(&bare, &tainted), (&tainted, &bare), (&tainted, &weaker)] {
            assert_eq!(touched(Some(old), new).as_deref(), Some(TAINT));
        }
        assert_eq!(touched(Some(&tainted), &turned), None);
        // A node that comes with it is one that nobody trusts yet.
        assert_eq!(touched(None, &tainted), None);
    }
}
