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

/// What a pod tolerates that lets it pass.
pub(super) struct Opens {
    /// What it did not tolerate before.
    new: Option<String>,
    any: String,
    before: Option<PodFacts>,
    after: PodFacts,
}

impl Opens {
    /// What `pod`, with these `facts`, tolerates and did, or did not, `before`; `None`: nothing that lets it pass.
    pub(super) fn of(
        (pod, facts): (&Pod, &PodFacts),
        before: Option<(&Pod, &PodFacts)>,
    ) -> Option<Self> {
        let mut passing = pod.spec.tolerations.iter().filter(|one| lets_pass(one));
        let any = passing.clone().next()?;
        let held = before.map_or(&[][..], |(pod, _)| &pod.spec.tolerations);
        let new = passing.find(|one| !held.contains(one));
        Some(Self {
            new: new.map(called),
            any: called(any),
            before: before.map(|(_, facts)| facts.clone()),
            after: facts.clone(),
        })
    }

    /// Why it may not.
    pub(super) fn refusal(&self, policies: &PolicySet) -> Option<Finding> {
        let pod = (self.before.as_ref(), &self.after);
        tolerating(policies, pod, self.new.as_deref(), &self.any)
    }
}

fn called(toleration: &Toleration) -> String {
    match toleration.key.as_str() {
        "" => "every taint".to_owned(),
        key => key.to_owned(),
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

    #[test]
    fn what_a_pod_tolerated_before_a_policy_was_for_it_is_no_excuse() {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [a], labels: {app: x}}, host: {tier: affirming}}\n";
        let policies = PolicySet::parse(manifest).unwrap();
        let all = json!([{ "operator": "Exists" }]);
        let pod = |app: &str, tolerations: &serde_json::Value| {
            let spec = json!({ "containers": [], "tolerations": tolerations });
            json!({ "metadata": { "name": "p", "labels": { "app": app } }, "spec": spec })
        };
        let told = |before: serde_json::Value, after: serde_json::Value| {
            let [before, after] =
                [before, after].map(|pod| serde_json::from_value::<Pod>(pod).unwrap());
            let [was, is] = [&before, &after].map(|pod| pod.facts("a"));
            let opens = Opens::of((&after, &is), Some((&before, &was)))?;
            opens.refusal(&policies).map(|finding| finding.code)
        };
        let refused = Some("toleration-of-untrusted".into());
        assert_eq!(told(pod("y", &all), pod("x", &all)), refused);
        assert_eq!(told(pod("x", &all), pod("x", &all)), None);
        assert_eq!(told(pod("y", &all), pod("z", &all)), None);
        assert_eq!(told(pod("x", &json!([])), pod("y", &all)), refused);
    }
}
