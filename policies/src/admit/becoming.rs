//! What a pod may not be, or become, on whichever host.

use std::collections::BTreeMap;

use touchstone_evidence::finding::Finding;

use super::{Admission, PodFacts, names_of};
use crate::manifest::PolicySet;

/// What an update makes of a pod on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing that matters.
    Nothing,
    /// Policies that were for it are so no more: refused.
    Leaves(Admission),
    /// It is to be judged as this, which it becomes.
    Becomes(Box<PodFacts>),
}

/// Judges that a pod on a node is `after` from now on; `before`: what it was, `None`: nobody said. It stays under the
/// policies that were for it: the host was chosen by them, what the pod opened there stays open, and no other look finds
/// out what it was.
#[must_use]
pub fn update(policies: &PolicySet, before: Option<&PodFacts>, after: &PodFacts) -> Update {
    let Some(before) = before else {
        return Update::Becomes(Box::new(after.clone()));
    };
    let (was_for, is_for) = (names_of(policies, before), names_of(policies, after));
    let mut left = was_for.clone();
    left.retain(|name| !is_for.contains(name));
    if !left.is_empty() {
        let reason = Finding::new("pod-leaves-policy").observed(left.join(", "));
        let mut refused = Admission::by(left);
        refused.refuse([reason]);
        return Update::Leaves(refused);
    }
    // Labels come and go on a pod whose host has fallen, too: only a policy that was not for it before judges it.
    if before.images == after.images && is_for.len() == was_for.len() {
        return Update::Nothing;
    }
    // Labels and owners may change with it, and it stays of the workload that it was made for.
    Update::Becomes(Box::new(PodFacts {
        workload: before.workload.clone(),
        ..after.clone()
    }))
}

/// Judges the mirror of a pod that runs on `node` already, without asking.
#[must_use]
pub fn mirror(policies: &PolicySet, pod: &PodFacts, node: &str) -> Admission {
    let mut admission = Admission::by(names_of(policies, pod));
    if !admission.policies().is_empty() {
        admission.refuse([Finding::new("pod-static").about(node)]);
    }
    admission
}

/// Judges that a pod tolerates what keeps pods from hosts that are not trusted; `None`: it may, or does not. `new`: what it
/// comes to tolerate of that. What it tolerated before is no reason to refuse its other changes, unless a policy comes to be
/// for it by them; and one that leaves its policy takes no leave of what it opens with it.
#[must_use]
pub fn tolerating(
    policies: &PolicySet,
    (before, after): (Option<&PodFacts>, &PodFacts),
    new: Option<&str>,
) -> Option<Admission> {
    let mut concerned = names_of(policies, after);
    let was_for = before.map_or_else(Vec::new, |before| names_of(policies, before));
    let comes_under = concerned.iter().any(|name| !was_for.contains(name));
    let tolerated = match comes_under {
        true => after.tolerates.as_deref(),
        false => new,
    };
    concerned.extend(was_for);
    concerned.sort_unstable();
    concerned.dedup();
    let reason = Finding::new("toleration-of-untrusted").observed(tolerated?);
    if concerned.is_empty() {
        return None;
    }
    let mut refused = Admission::by(concerned);
    refused.refuse([reason]);
    Some(refused)
}

/// Everything that a pod may be once it is bound with `labels`, beside what it is on servers that do not look at them.
///
/// # Errors
/// It would leave policies by them, or be under one while it tolerates hosts that are not trusted, also where the policy came
/// after the pod: refused as the pod that does.
pub fn bound_with(
    policies: &PolicySet,
    mut pods: Vec<PodFacts>,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<PodFacts>, Box<(Admission, PodFacts)>> {
    for before in pods.clone() {
        let mut after = before.clone();
        after.labels.extend(labels.clone());
        if let Update::Leaves(refused) = update(policies, Some(&before), &after) {
            return Err(Box::new((refused, after)));
        }
        if let Some(refused) = tolerating(policies, (None, &after), None) {
            return Err(Box::new((refused, after)));
        }
        if !pods.contains(&after) {
            pods.push(after);
        }
    }
    Ok(pods)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::{ImageFacts, ImageUse, Workload};

    fn pod(app: &str, image: &str) -> PodFacts {
        PodFacts {
            namespace: "a".to_owned(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            images: vec![ImageFacts {
                container: "c".to_owned(),
                used: ImageUse::Ordinary,
                reference: image.to_owned(),
                name: None,
                digest: None,
                encrypted: None,
                registered: None,
                signers: None,
            }],
            ..PodFacts::default()
        }
    }

    fn policies() -> PolicySet {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [a], labels: {app: x}}, host: {tier: affirming}}\n";
        PolicySet::parse(manifest).unwrap()
    }

    #[test]
    fn a_pod_on_a_node_is_judged_again_where_its_images_change_or_a_policy_comes_to_be_for_it() {
        let policies = policies();
        let update = |before: &PodFacts, after: &PodFacts| update(&policies, Some(before), after);
        let becomes = |pod: &PodFacts| Update::Becomes(Box::new(pod.clone()));
        let (x, y) = (pod("x", "1"), pod("y", "1"));
        assert_eq!(update(&x, &x), Update::Nothing);
        assert_eq!(update(&y, &pod("z", "1")), Update::Nothing);
        assert_eq!(update(&y, &x), becomes(&x));
        assert_eq!(update(&x, &pod("x", "2")), becomes(&pod("x", "2")));
        assert_eq!(super::update(&policies, None, &y), becomes(&y));
        // Whatever else comes with it.
        for after in [&y, &pod("y", "2")] {
            let Update::Leaves(refused) = update(&x, after) else {
                panic!("{after:?}");
            };
            assert_eq!(refused.policies(), ["w"]);
            assert_eq!(refused.refusals()[0].code, "pod-leaves-policy");
        }
    }

    #[test]
    fn a_pod_stays_of_the_workload_that_it_was_made_for() {
        let of = |uid: &str| {
            Some(Workload {
                kind: "ReplicaSet".to_owned(),
                name: "api".to_owned(),
                uid: uid.to_owned(),
                revision: String::new(),
            })
        };
        let (mut before, mut after) = (pod("x", "1"), pod("x", "2"));
        (before.workload, after.workload) = (of("1"), of("2"));
        let Update::Becomes(pod) = update(&policies(), Some(&before), &after) else {
            panic!("it is another image");
        };
        assert_eq!(pod.workload, before.workload);
    }

    #[test]
    fn only_pods_that_a_policy_is_for_are_refused_for_what_they_are() {
        let policies = policies();
        for (app, refused) in [("x", true), ("y", false)] {
            let pod = pod(app, "1");
            let mirror = mirror(&policies, &pod, "node-1");
            assert_eq!(
                (mirror.admitted(), mirror.policies().len() == 1),
                (!refused, refused)
            );
            assert_eq!(tolerating(&policies, (None, &pod), None), None);
            let open = PodFacts {
                tolerates: Some("every taint".to_owned()),
                ..pod
            };
            let tolerates = tolerating(&policies, (None, &open), None);
            assert_eq!(tolerates.is_some(), refused);
            if let Some(admission) = tolerates {
                assert_eq!(admission.policies(), ["w"]);
                assert_eq!(admission.refusals()[0].code, "toleration-of-untrusted");
            }
        }
    }

    #[test]
    fn labels_of_a_binding_are_laid_over_everything_that_the_pod_may_be() {
        let policies = policies();
        let (x, y) = (pod("x", "1"), pod("y", "1"));
        let bound = |pods: &[&PodFacts], labels: &[(&str, &str)]| {
            let pods = pods.iter().copied().cloned().collect();
            let labels = labels.iter();
            let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            bound_with(&policies, pods, &labels.collect())
        };
        assert_eq!(bound(&[&y], &[]).unwrap(), vec![y.clone()]);
        let both = [y.clone(), x.clone()];
        assert_eq!(bound(&[&y], &[("app", "x")]).unwrap(), both);
        let (left, _) = *bound(&[&y, &x], &[("app", "y")]).unwrap_err();
        assert_eq!(left.refusals()[0].code, "pod-leaves-policy");
        // Under the policy it comes only if it tolerates no host that is not trusted.
        let open = PodFacts {
            tolerates: Some("every taint".to_owned()),
            ..y.clone()
        };
        assert_eq!(bound(&[&open], &[("a", "b")]).unwrap().len(), 2);
        let (opens, _) = *bound(&[&y, &open], &[("app", "x")]).unwrap_err();
        assert_eq!(opens.refusals()[0].code, "toleration-of-untrusted");
        // Also where the policy came after it.
        let open = PodFacts {
            tolerates: Some("every taint".to_owned()),
            ..x.clone()
        };
        let (opens, _) = *bound(&[&open], &[]).unwrap_err();
        assert_eq!(opens.refusals()[0].code, "toleration-of-untrusted");
        // As newer servers do it themselves.
        let zone = bound(&[&x], &[("topology.kubernetes.io/zone", "z")]).unwrap();
        assert_eq!((zone.len(), zone[1].labels.len()), (2, 2));
    }
}
