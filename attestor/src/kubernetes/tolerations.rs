//! Tolerations: a pod that a policy is for tolerates no host that is not trusted.
//!
//! Such a pod is refused, by words, and not mended: a toleration of everything cannot be narrowed to everything but
//! one, and without it the pod would wait for reasons that nobody told its author.

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::names::TAINT;
use touchstone_kubernetes::pod::{Pod, Toleration};
use touchstone_policies::admit::{PodFacts, tolerating};
use touchstone_policies::manifest::PolicySet;

/// Whether a pod with it could stay where our taint is. Which values of it there are does not count: there may be more of
/// them one day.
fn lets_pass(toleration: &Toleration) -> bool {
    let any = toleration.key.is_empty() && toleration.operator == "Exists";
    (any || toleration.key == TAINT) && toleration.effect != "PreferNoSchedule"
}

/// What a pod comes to tolerate that lets it pass.
pub(super) struct Opens {
    tolerated: String,
    /// What the pod is, and what it was.
    pods: Vec<PodFacts>,
}

impl Opens {
    /// What `pod`, with these `facts`, tolerates and did not `before`; `None`: nothing that lets it pass. What it tolerates
    /// already is no reason to refuse its other changes.
    pub(super) fn of(
        (pod, facts): (&Pod, &PodFacts),
        before: Option<(&Pod, &PodFacts)>,
    ) -> Option<Self> {
        let held = before.map(|(pod, _)| pod.spec.tolerations.as_slice());
        let mut passing = pod.spec.tolerations.iter().filter(|one| lets_pass(one));
        let new = passing.find(|one| !held.unwrap_or_default().contains(one))?;
        let tolerated = match new.key.as_str() {
            "" => "every taint",
            key => key,
        };
        let before = before.map(|(_, facts)| facts.clone());
        Some(Self {
            tolerated: tolerated.to_owned(),
            pods: before.into_iter().chain([facts.clone()]).collect(),
        })
    }

    /// Why it may not.
    pub(super) fn refusal(&self, policies: &PolicySet) -> Option<Finding> {
        tolerating(policies, &self.pods, &self.tolerated)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_toleration_of_the_taint_or_of_everything_lets_pass() {
        let passes =
            |toleration| lets_pass(&serde_json::from_value::<Toleration>(toleration).unwrap());
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
