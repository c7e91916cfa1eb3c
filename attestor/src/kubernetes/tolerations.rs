//! Tolerations: a pod that a policy is for tolerates no host that is not trusted.
//!
//! Such a pod is refused, by words, and not mended: a toleration of everything cannot be narrowed to everything but
//! one, and without it the pod would wait for reasons that nobody told its author.

use touchstone_kubernetes::pod::{Pod, Toleration};
use touchstone_policies::admit::{Admission, PodFacts, tolerating};
use touchstone_policies::manifest::PolicySet;

/// A pod that tolerates what lets it pass.
pub(super) struct Opens {
    /// What it did not tolerate before.
    new: Option<String>,
    before: Option<PodFacts>,
    after: PodFacts,
}

impl Opens {
    /// What `pod`, with these `facts`, tolerates and did, or did not, `before`; `None`: nothing that lets it pass.
    pub(super) fn of(
        (pod, facts): (&Pod, &PodFacts),
        before: Option<(&Pod, &PodFacts)>,
    ) -> Option<Self> {
        facts.tolerates.as_ref()?;
        let held = before.map_or(&[][..], |(pod, _)| &pod.spec.tolerations);
        let mut passing = pod.spec.tolerations.iter().filter(|one| one.lets_pass());
        let new = passing.find(|one| !held.contains(one));
        Some(Self {
            new: new.map(Toleration::called),
            before: before.map(|(_, facts)| facts.clone()),
            after: facts.clone(),
        })
    }

    /// Why it may not, and what it is.
    pub(super) fn refusal(&self, policies: &PolicySet) -> Option<(Admission, &PodFacts)> {
        let pod = (self.before.as_ref(), &self.after);
        let refused = tolerating(policies, pod, self.new.as_deref())?;
        Some((refused, &self.after))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

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
            let (refused, _) = opens.refusal(&policies)?;
            assert_eq!(refused.policies(), ["w"]);
            Some(refused.refusals()[0].code.clone())
        };
        let refused = Some("toleration-of-untrusted".into());
        assert_eq!(told(pod("y", &all), pod("x", &all)), refused);
        assert_eq!(told(pod("x", &all), pod("x", &all)), None);
        assert_eq!(told(pod("y", &all), pod("z", &all)), None);
        assert_eq!(told(pod("x", &json!([])), pod("y", &all)), refused);
    }
}
