//! Tolerations: a pod that a policy is for tolerates no host that is not trusted.
//!
//! Such a pod is refused, by words, and not mended: a toleration of everything cannot be narrowed to everything but
//! one, and without it the pod would wait for reasons that nobody told its author.

use serde::Deserialize;
use touchstone_evidence::finding::Finding;
use touchstone_policies::admit::{PodFacts, policies_for};
use touchstone_policies::manifest::PolicySet;

use super::review::{Object, Request};

/// The taint of nodes whose hosts are not trusted.
const TAINT: &str = "touchstone.dev/untrusted";

/// `Toleration`, as far as it is looked at. For how many seconds it holds makes it no other.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Toleration {
    /// Empty: any taint, with the operator `Exists`.
    #[serde(default)]
    key: String,
    #[serde(default)]
    operator: String,
    #[serde(default)]
    effect: String,
}

impl Toleration {
    /// Whether a pod with it could stay where our taint is. Which values of it there are does not count: there may be
    /// more of them one day.
    fn lets_pass(&self) -> bool {
        let any = self.key.is_empty() && self.operator == "Exists";
        (any || self.key == TAINT) && self.effect != "PreferNoSchedule"
    }
}

/// Why the pod may not be made, or changed, as it is asked; `None`: its tolerations are no reason. What a pod tolerates
/// already is no reason to refuse its other changes.
pub(super) fn refusal(
    policies: &PolicySet,
    pod: &PodFacts,
    request: &Request<Object>,
) -> Option<Finding> {
    let spec = request.object.as_ref()?.spec.as_ref()?;
    let mut passing = spec.tolerations.iter().filter(|one| one.lets_pass());
    let held = tolerated_already(request);
    let new = passing.find(|one| !held.contains(one))?;
    if policies_for(policies, pod).is_empty() {
        return None;
    }
    let tolerated = match new.key.as_str() {
        "" => "every taint",
        key => key,
    };
    Some(Finding::new("toleration-of-untrusted").observed(tolerated))
}

fn tolerated_already(request: &Request<Object>) -> Vec<Toleration> {
    let old = request.old_object.as_ref();
    let tolerations = old.and_then(|old| old.pointer("/spec/tolerations"));
    tolerations
        .and_then(|tolerations| Vec::deserialize(tolerations).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_toleration_of_the_taint_or_of_everything_lets_pass() {
        let passes = |toleration| {
            serde_json::from_value::<Toleration>(toleration)
                .unwrap()
                .lets_pass()
        };
        for passing in [
            json!({ "operator": "Exists" }),
            json!({ "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9 }),
            json!({ "key": TAINT, "operator": "Exists" }),
            json!({ "key": TAINT, "value": "new", "effect": "NoSchedule" }),
        ] {
            assert!(passes(passing.clone()), "{passing}");
        }
        for harmless in [
            json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists" }),
            json!({ "operator": "Exists", "effect": "PreferNoSchedule" }),
            json!({ "key": "", "operator": "Equal" }),
        ] {
            assert!(!passes(harmless.clone()), "{harmless}");
        }
    }
}
