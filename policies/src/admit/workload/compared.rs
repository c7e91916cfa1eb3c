//! Which pods are compared with what is recorded of their workload, and with those of it that run.

use touchstone_evidence::finding::Finding;

use super::{MadeOf, changes, differences, made_of, too_large};
use crate::admit::{PodFacts, policies_for_any, selecting};
use crate::manifest::PolicySet;

/// How `pods`, which are one and the same as it was seen, differ from what is `recorded` of the workload of each, in their
/// order, and from each other. `before`: what the pod was until now. Pods that no policy is for differ from nothing.
#[must_use]
pub fn changed(
    policies: &PolicySet,
    pods: &[PodFacts],
    before: Option<&PodFacts>,
    recorded: &[Option<&[MadeOf]>],
) -> Vec<Finding> {
    let mut all = Vec::new();
    if policies_for_any(policies, pods).is_empty() {
        return all;
    }
    if let Some(finding) = pods.iter().find_map(too_large) {
        return vec![finding];
    }
    let first = before.or(pods.first()).map(made_of).unwrap_or_default();
    for (index, pod) in pods.iter().enumerate() {
        let now = made_of(pod);
        add(&mut all, changes(&first, &now));
        if let Some(Some(made)) = recorded.get(index) {
            add(&mut all, changes(made, &now));
        }
    }
    all
}

/// How `pods`, which are one that would be the first of its workload, differ from the first of `running`, which are of the
/// same workload, that they differ from: of those alone that a policy is for, which the record that it leaves would end.
///
/// In either direction: the record is what those that run are compared with, and of an image that was named by a tag any digest is
/// the same, but not the other way round.
#[must_use]
pub fn unlike_running(
    policies: &PolicySet,
    pods: &[PodFacts],
    running: impl IntoIterator<Item = PodFacts>,
) -> Vec<Finding> {
    let mut sets: Vec<Vec<MadeOf>> = Vec::new();
    for now in pods.iter().map(made_of) {
        if !sets.contains(&now) {
            sets.push(now);
        }
    }
    let meant = running
        .into_iter()
        .filter(|other| selecting(policies, other).next().is_some());
    let unlike = meant.map(|other| made_of(&other)).find_map(|other| {
        let mut all = sets.iter().map(|now| unlike(&other, now));
        all.find(|found| !found.is_empty())
    });
    unlike.unwrap_or_default()
}

fn unlike(running: &[MadeOf], now: &[MadeOf]) -> Vec<Finding> {
    let is_same = |one: &MadeOf, other: &MadeOf| one.is(other) && other.is(one);
    differences("workload-unlike-running", running, now, is_same)
}

/// Adds what is not there yet.
fn add(all: &mut Vec<Finding>, more: Vec<Finding>) {
    for finding in more {
        if !all.contains(&finding) {
            all.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::{ImageFacts, ImageUse};

    const TAG: &str = "r.example/a:1";
    const OTHER_TAG: &str = "r.example/b:1";

    fn policies() -> PolicySet {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [payments], labels: {app: x}}, host: {tier: affirming}}\n";
        PolicySet::parse(manifest).unwrap()
    }

    fn digest(repository: &str, byte: &str) -> String {
        format!("{repository}@sha256:{}", byte.repeat(32))
    }

    fn pod(app: &str, reference: &str) -> PodFacts {
        let digest = reference.split_once('@').map(|(_, digest)| digest);
        PodFacts {
            namespace: "payments".to_owned(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            images: vec![ImageFacts {
                container: "c".to_owned(),
                used: ImageUse::Ordinary,
                reference: reference.to_owned(),
                name: None,
                digest: digest.map(|digest| digest.parse().unwrap()),
                encrypted: None,
                registered: None,
                signers: None,
            }],
            ..PodFacts::default()
        }
    }

    fn unlike(running: &[&str], new: &str) -> Vec<Finding> {
        let running = running.iter().map(|reference| pod("x", reference));
        unlike_running(&policies(), &[pod("x", new)], running)
    }

    #[test]
    fn a_digest_beside_pods_that_run_by_a_tag_would_end_them_and_is_refused() {
        let (pinned, theirs) = (digest("x.example/y", "0a"), digest("x.example/y", "0b"));
        for (running, new, differs) in [
            (&[TAG][..], &*pinned, true),
            // It would leave a record that any digest is as good as.
            (&[&*pinned], TAG, true),
            (&[&*pinned], &*theirs, true),
            (&[TAG], OTHER_TAG, true),
            (&[TAG, OTHER_TAG], TAG, true),
            (&[TAG], TAG, false),
            (&[&*pinned], &*digest("m.example/z", "0a"), false),
            (&[], &*pinned, false),
        ] {
            let found = unlike(running, new);
            assert_eq!(!found.is_empty(), differs, "{running:?} {new}");
            for finding in found {
                assert_eq!(finding.code, "workload-unlike-running");
                assert_eq!(finding.subject, "container `c`");
            }
        }
    }

    #[test]
    fn whoever_would_be_ended_by_what_is_left_here_keeps_it_from_being_left() {
        let references = [
            TAG.to_owned(),
            OTHER_TAG.to_owned(),
            digest("r.example/a", "0a"),
            digest("x.example/y", "0a"),
            digest("r.example/a", "0b"),
        ];
        for new in &references {
            for running in &references {
                let left = made_of(&pod("x", new));
                let ended = !changes(&left, &made_of(&pod("x", running))).is_empty();
                let refused = !unlike(&[running], new).is_empty();
                assert!(refused || !ended, "{new} would end {running}");
            }
        }
    }

    #[test]
    fn pods_that_no_policy_is_for_are_ended_by_no_record_and_every_set_of_facts_counts() {
        let policies = policies();
        let new = [pod("x", TAG), pod("x", TAG), pod("x", OTHER_TAG)];
        let none = unlike_running(&policies, &new, [pod("y", "r.example/z:1")]);
        assert_eq!(none, []);
        let found = unlike_running(&policies, &new, [pod("x", TAG)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].observed.as_deref(), Some(OTHER_TAG));
    }

    #[test]
    fn a_pod_is_compared_with_its_record_and_with_what_it_was_before() {
        let policies = policies();
        let (made, other) = (pod("x", &digest("a", "0a")), pod("x", &digest("a", "0b")));
        let record = made_of(&made);
        let count =
            |pods: &[PodFacts], before: Option<&PodFacts>, recorded: &[Option<&[MadeOf]>]| {
                changed(&policies, pods, before, recorded).len()
            };
        let same = std::slice::from_ref(&made);
        let another = std::slice::from_ref(&other);
        assert_eq!(count(same, None, &[Some(&record)]), 0);
        assert_eq!(count(another, None, &[Some(&record)]), 1);
        assert_eq!(count(another, None, &[None]), 0);
        assert_eq!(count(another, Some(&made), &[]), 1);
        assert_eq!(count(&[made.clone(), other.clone()], None, &[]), 1);
        let nobody_s = pod("y", &digest("a", "0b"));
        assert_eq!(count(&[nobody_s], None, &[Some(&record)]), 0);
    }
}
