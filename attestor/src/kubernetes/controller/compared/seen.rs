//! One pod as it was seen: the policies that are for it, those that it left, and how it differs from its record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_policies::admit::workload::{changes, made_of};
use touchstone_policies::manifest::PolicySet;

use super::super::pods::{Known, meant};
use crate::workloads::{Record, Workloads};

/// How long a pod goes without a record before one is looked for again: its own replica may have made it, or another.
const RETRY: Duration = Duration::from_secs(60);
/// How long a workload that is seen all the time is not said to be.
const SAID: Duration = Duration::from_secs(3600);

pub(super) struct Seen {
    /// The pod, as it was seen.
    known: Arc<Known>,
    /// The policies that it was seen with.
    policy_digest: Sha256Digest,
    /// When its record was looked for; `None`: not since it is as it is.
    compared_at: Option<Instant>,
    /// The workload's id, if there is a record of it.
    pub(super) recorded: Option<Sha256Digest>,
    pub(super) said: Option<Instant>,
    /// How it differs from the record, as it was compared last.
    changes: Vec<Finding>,
    /// The same, and that it left policies.
    pub(super) refusals: Vec<Finding>,
    /// Policies that are for it.
    policies: Vec<String>,
    /// Those that were, and that it left where nobody was asked: no review lets it.
    pub(super) left: Vec<String>,
}

impl Seen {
    /// For the first time.
    pub(super) fn new(known: &Arc<Known>, policies: &PolicySet) -> Self {
        Self {
            known: Arc::clone(known),
            policy_digest: policies.digest,
            compared_at: None,
            recorded: None,
            said: None,
            changes: Vec::new(),
            refusals: Vec::new(),
            policies: is_for(known).to_vec(),
            left: Vec::new(),
        }
    }

    /// The same pod as it is now. Until it is compared, it differs from its record as it did.
    pub(super) fn again(mut self, known: &Arc<Known>, policies: &PolicySet) -> Self {
        if Arc::ptr_eq(&self.known, known) {
            return self;
        }
        self.left = left(&self, policies, known);
        self.policies = is_for(known).to_vec();
        self.policy_digest = policies.digest;
        self.known = Arc::clone(known);
        self.compared_at = None;
        if known.workload().is_none() {
            self.recorded = None;
            self.changes.clear();
        }
        self.refuse();
        self
    }

    /// Whether a policy was for it, as far as is known.
    pub(super) fn was_meant(&self) -> bool {
        !(self.policies.is_empty() && self.left.is_empty())
    }

    /// The id of its workload, if that is to be compared with its record now.
    pub(super) fn due(&self, workloads: &Workloads, now: Instant) -> Option<Sha256Digest> {
        let lasts = self
            .compared_at
            .is_some_and(|at| self.recorded.is_some() || now.duration_since(at) < RETRY);
        let (namespace, workload) = self.known.workload().filter(|_| !lasts)?;
        Some(workloads.id_of(namespace, workload))
    }

    /// Compares it with what is recorded of its workload.
    pub(super) fn compare(&mut self, id: Sha256Digest, record: Option<&Record>, now: Instant) {
        let recorded = record.map(|_| id);
        if self.recorded != recorded {
            self.said = None;
        }
        self.recorded = recorded;
        self.compared_at = Some(now);
        let facts = self.known.meant.as_ref().map(|meant| &meant.facts);
        let both = record.zip(facts);
        self.changes = both.map_or_else(Vec::new, |(record, facts)| {
            changes(&record.made, &made_of(facts))
        });
        self.refuse();
    }

    /// Whether its workload is to be said to be seen.
    pub(super) fn is_to_be_said(&self, now: Instant) -> bool {
        let lately = self.said.is_some_and(|at| now.duration_since(at) < SAID);
        self.recorded.is_some() && !lately
    }

    fn refuse(&mut self) {
        let left = (!self.left.is_empty())
            .then(|| Finding::new("pod-leaves-policy").observed(self.left.join(", ")));
        self.refusals = left.into_iter().chain(self.changes.clone()).collect();
    }
}

fn is_for(known: &Known) -> &[String] {
    known.meant.as_ref().map_or(&[], |meant| &meant.policies)
}

/// Policies that a pod left: they were for it, are still there, and are not for it any more. Where policy itself changed,
/// those were that are now for the pod as it was.
fn left(before: &Seen, policies: &PolicySet, now: &Known) -> Vec<String> {
    let by_others = before.policy_digest != policies.digest;
    let were = match by_others {
        false => before.policies.clone(),
        true if before.known.is_of(&now.pod) => Vec::new(),
        true => meant(policies, &before.known.pod).map_or_else(Vec::new, |meant| meant.policies),
    };
    let is_for = is_for(now);
    let gone = |name: &String| policies.workloads.contains_key(name) && !is_for.contains(name);
    let were = before.left.iter().cloned().chain(were);
    let mut left: Vec<String> = were.filter(gone).collect();
    left.sort_unstable();
    left.dedup();
    left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;
    use touchstone_policies::admit::ImageUse;
    use touchstone_policies::admit::workload::MadeOf;

    use super::*;

    /// Policies `v` and `w` for pods with these labels, each `key=value`.
    fn policies(v: &str, w: &str) -> PolicySet {
        let policy = |name: &str, label: &str| {
            let (key, value) = label.split_once('=').unwrap();
            format!(
                "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: {name}}}\n\
                 spec: {{pod: {{namespaces: [a], labels: {{{key}: {value}}}}}, host: {{tier: affirming}}}}\n"
            )
        };
        PolicySet::parse(&[policy("v", v), policy("w", w)].join("---\n")).unwrap()
    }

    /// A pod with the labels `v` and `w`, where they have a value.
    fn pod(policies: &PolicySet, version: u32, labels: [&str; 2]) -> Arc<Known> {
        let labels = ["v", "w"].into_iter().zip(labels);
        let labels: serde_json::Map<_, _> = labels
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect();
        let pod = json!({
            "metadata": {
                "name": "api", "namespace": "a", "uid": "u", "labels": labels,
                "resourceVersion": version.to_string(),
            },
            "spec": { "containers": [{ "name": "c", "image": "r.example/a:1" }] },
        });
        let pod = Arc::new(serde_json::from_value(pod).unwrap());
        let meant = meant(policies, &pod);
        Arc::new(Known { pod, meant })
    }

    #[test]
    fn a_pod_that_left_its_policy_by_any_door_is_known_by_what_it_was() {
        let all = policies("v=1", "w=1");
        let mut version = 0;
        let mut next = |labels| {
            version += 1;
            pod(&all, version, labels)
        };
        let seen = Seen::new(&next(["1", "1"]), &all);
        assert!(seen.left.is_empty() && seen.refusals.is_empty());
        let seen = seen.again(&next(["1", "1"]), &all);
        assert_eq!(seen.left, [""; 0]);
        // It stays out until it comes back.
        let seen = seen.again(&next(["1", ""]), &all);
        assert_eq!(seen.left, ["w"]);
        let seen = seen.again(&next(["1", "2"]), &all);
        assert_eq!(seen.left, ["w"]);
        let seen = seen.again(&next(["1", "1"]), &all);
        assert_eq!(seen.left, [""; 0]);
        let seen = seen.again(&next(["", ""]), &all);
        assert_eq!(seen.left, ["v", "w"]);
        assert!(seen.was_meant());
        assert_eq!(seen.refusals[0].code, "pod-leaves-policy");
    }

    #[test]
    fn policy_that_changes_lets_pods_go_and_hides_none_that_left_meanwhile() {
        let before = policies("v=1", "w=1");
        let was = || Seen::new(&pod(&before, 1, ["1", "1"]), &before);
        let left = |seen: Seen, policies: &PolicySet, version, labels| {
            seen.again(&pod(policies, version, labels), policies).left
        };
        // Others mean other pods, whatever became of this one.
        let others = policies("v=2", "w=2");
        assert_eq!(left(was(), &others, 1, ["1", "1"]), [""; 0]);
        assert_eq!(left(was(), &others, 2, ["", ""]), [""; 0]);
        // Where they mean the pod that was, it left them.
        let same = policies("v=1", "w=2");
        assert_eq!(left(was(), &same, 1, ["1", "1"]), [""; 0]);
        assert_eq!(left(was(), &same, 2, ["1", ""]), [""; 0]);
        assert_eq!(left(was(), &same, 2, ["", ""]), ["v"]);
        // What left before stays out, and nothing is out of a policy that is gone.
        let out = || was().again(&pod(&before, 2, ["1", ""]), &before);
        assert_eq!(left(out(), &others, 2, ["1", ""]), ["w"]);
        assert_eq!(left(out(), &PolicySet::empty(), 2, ["1", ""]), [""; 0]);
    }

    #[test]
    fn a_pod_that_changes_is_of_the_workload_that_was_said_until_it_is_of_another() {
        let all = policies("v=1", "w=1");
        let (now, record) = (Instant::now(), Record { made: Vec::new() });
        let ids = [b"1", b"2"].map(|id| Sha256Digest::of(id));
        let mut seen = Seen::new(&pod(&all, 1, ["1", ""]), &all);
        seen.compare(ids[0], Some(&record), now);
        assert!(seen.is_to_be_said(now));
        seen.said = Some(now);
        let mut seen = seen.again(&pod(&all, 2, ["1", ""]), &all);
        seen.compare(ids[0], Some(&record), now);
        assert!(!seen.is_to_be_said(now) && seen.is_to_be_said(now + SAID));
        seen.compare(ids[1], Some(&record), now);
        assert!(seen.is_to_be_said(now));
        seen.compare(ids[1], None, now);
        assert!(!seen.is_to_be_said(now));
    }

    #[test]
    fn what_differs_from_its_record_does_until_it_is_compared_again() {
        let all = policies("v=1", "w=1");
        let made = MadeOf {
            container: "c".to_owned(),
            used: ImageUse::Ordinary,
            reference: "r.example/b:1".to_owned(),
            digest: None,
        };
        let other = Record { made: vec![made] };
        let now = Instant::now();
        let mut seen = Seen::new(&pod(&all, 1, ["1", "1"]), &all);
        seen.compare(Sha256Digest::ZERO, Some(&other), now);
        let codes = |seen: &Seen| -> Vec<String> {
            seen.refusals.iter().map(|it| it.code.to_string()).collect()
        };
        assert_eq!(codes(&seen), ["workload-changed"]);
        let mut seen = seen.again(&pod(&all, 2, ["1", ""]), &all);
        assert_eq!(codes(&seen), ["pod-leaves-policy", "workload-changed"]);
        seen.compare(Sha256Digest::ZERO, None, now);
        assert_eq!(codes(&seen), ["pod-leaves-policy"]);
    }
}
