//! Tolerations: a pod that a policy is for tolerates no host that is not trusted.
//!
//! Such a pod is refused, by words, and not mended: a toleration of everything cannot be narrowed to everything but
//! one, and without it the pod would wait for reasons that nobody told its author.

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::names::TAINT;
use touchstone_kubernetes::pod::{Pod, Toleration};
use touchstone_policies::admit::{PodFacts, selecting};
use touchstone_policies::manifest::PolicySet;

use super::review::Request;

/// Whether a pod with it could stay where our taint is. Which values of it there are does not count: there may be more of
/// them one day.
fn lets_pass(toleration: &Toleration) -> bool {
    let any = toleration.key.is_empty() && toleration.operator == "Exists";
    (any || toleration.key == TAINT) && toleration.effect != "PreferNoSchedule"
}

/// Why the pod may not be made, or changed, as it is asked; `None`: its tolerations are no reason. What a pod tolerates
/// already is no reason to refuse its other changes, unless a policy comes to be for it by them. Kubelets let every static pod tolerate all that evicts: what is to
/// be said of its mirror is that it is one.
pub(super) fn refusal(policies: &PolicySet, request: &Request) -> Option<Finding> {
    let resource = request.resource_name();
    if !["pods", "pods/ephemeralcontainers", "pods/status"].contains(&resource.as_str()) {
        return None;
    }
    let pod: Pod = request.object().ok()?;
    if request.operation == "CREATE" && pod.is_mirror() {
        return None;
    }
    let before = request.old_object::<Pod>().ok().flatten();
    let mut passing = pod.spec.tolerations.iter().filter(|one| lets_pass(one));
    let first = passing.clone().next()?;
    // What it is and what it was: a pod that leaves its policy takes no leave of what it opened under it.
    let both = [Some(&pod), before.as_ref()].into_iter().flatten();
    let both: Vec<PodFacts> = both.map(|pod| pod.facts(&request.namespace)).collect();
    let [is_for, was_for] = [both.first(), both.get(1)].map(|pod| -> Vec<&str> {
        let policies = pod.into_iter().flat_map(|pod| selecting(policies, pod));
        policies.map(|(name, _)| name).collect()
    });
    if is_for.is_empty() && was_for.is_empty() {
        return None;
    }
    let held = before.as_ref().map(|pod| pod.spec.tolerations.as_slice());
    let new = match is_for.iter().all(|name| was_for.contains(name)) {
        true => passing.find(|one| !held.unwrap_or_default().contains(one))?,
        false => first,
    };
    let tolerated = match new.key.as_str() {
        "" => "every taint",
        key => key,
    };
    Some(Finding::new("toleration-of-untrusted").observed(tolerated))
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
        let told = |sub: &str, before, after| {
            let request = json!({
                "uid": "u", "namespace": "a", "operation": "UPDATE", "subResource": sub,
                "resource": { "group": "", "version": "v1", "resource": "pods" },
                "object": after, "oldObject": before,
            });
            let request: Request = serde_json::from_str(&request.to_string()).unwrap();
            refusal(&policies, &request).map(|finding| finding.code)
        };
        let refused = Some("toleration-of-untrusted".to_owned());
        for sub in ["", "status"] {
            assert_eq!(told(sub, pod("y", &all), pod("x", &all)), refused, "{sub}");
            assert_eq!(told(sub, pod("x", &all), pod("x", &all)), None);
            assert_eq!(told(sub, pod("y", &all), pod("z", &all)), None);
            assert_eq!(told(sub, pod("x", &json!([])), pod("y", &all)), refused);
        }
    }
}
