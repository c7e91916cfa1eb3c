//! Admission: may this pod run on this host?

mod images;
mod pod;
pub mod workload;

use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::Place;
use touchstone_evidence::result::TrustTier;

use crate::manifest::{HostHalf, PolicySet, Region, WorkloadPolicy};

pub use images::{to_learn, to_verify};
pub use pod::{ImageFacts, ImageUse, PodFacts};
pub use workload::Workload;

/// Seconds by which the clocks of two servers may differ.
const CLOCK_TOLERANCE: i64 = 30;

/// What is held about a host at the moment of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStanding {
    /// Who.
    pub host: HostId,
    /// Tier of its last appraisal.
    pub tier: TrustTier,
    /// Where it was proven to be.
    pub place: Option<Place>,
    /// Why the tier is not better.
    pub findings: Vec<Finding>,
    /// Issue time of the challenge that the round answered, seconds since 1970.
    pub challenged_at: i64,
    /// Seconds since 1970 from which it is stale.
    pub expires_at: i64,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Names of the `WorkloadPolicy` manifests that are for this pod; none: the pod is not our concern.
    pub policies: Vec<String>,
    /// Why not. Empty: admitted.
    pub refusals: Vec<Finding>,
}

impl Admission {
    /// No policy yet, and no refusal.
    fn open() -> Self {
        Self {
            policies: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Adds what is not there yet.
    fn add(&mut self, more: Self) {
        add(&mut self.policies, more.policies);
        add(&mut self.refusals, more.refusals);
    }

    /// Whether the pod may run there.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// Whether any `WorkloadPolicy` could be for a pod of this namespace.
#[must_use]
pub fn concerns_namespace(policies: &PolicySet, namespace: &str) -> bool {
    policies
        .workloads
        .values()
        .any(|policy| policy.pod.namespaces.iter().any(|name| name == namespace))
}

/// Every `WorkloadPolicy` that is for this pod, with its name.
pub fn selecting<'a>(
    policies: &'a PolicySet,
    pod: &'a PodFacts,
) -> impl Iterator<Item = (&'a str, &'a WorkloadPolicy)> {
    let all = policies.workloads.iter();
    all.filter(|(_, policy)| pod.is_meant_by(&policy.pod))
        .map(|(name, policy)| (name.as_str(), policy))
}

/// The `WorkloadPolicy` manifests that are for this pod, with their names.
#[must_use]
pub fn policies_for<'a>(
    policies: &'a PolicySet,
    pod: &'a PodFacts,
) -> Vec<(&'a str, &'a WorkloadPolicy)> {
    selecting(policies, pod).collect()
}

/// Those that are for any of these pods, each once.
#[must_use]
pub fn policies_for_any<'a>(
    policies: &'a PolicySet,
    pods: &[PodFacts],
) -> Vec<(&'a str, &'a WorkloadPolicy)> {
    let all = policies.workloads.iter();
    all.filter(|(_, policy)| pods.iter().any(|pod| pod.is_meant_by(&policy.pod)))
        .map(|(name, policy)| (name.as_str(), policy))
        .collect()
}

/// Why pods of the policies in `selected` may not run on `host`, each reason once; empty: they may. `host` is `None`
/// when the node is mapped to no host or the host has no result: that refuses. `now` in seconds since 1970.
#[must_use]
pub fn refusals_of(
    policies: &PolicySet,
    selected: &[(&str, &WorkloadPolicy)],
    host: Option<&HostStanding>,
    now: i64,
) -> Vec<Finding> {
    let mut all = Vec::new();
    for (_, policy) in selected {
        add(&mut all, refusals(policies, &policy.host, host, now));
    }
    all
}

/// For how many more seconds `host` may satisfy all of `selected`, if it attests no more; below zero: for none. `now`
/// in seconds since 1970.
#[must_use]
pub fn seconds_left(selected: &[(&str, &WorkloadPolicy)], host: &HostStanding, now: i64) -> i64 {
    let limits = selected
        .iter()
        .filter_map(|(_, policy)| policy.host.freshness_seconds)
        .map(|limit| host.challenged_at.saturating_add(limit.seconds()));
    let end = limits.fold(host.expires_at, i64::min);
    end.saturating_sub(now)
}

/// Judges pod and host by every `WorkloadPolicy` that is for this pod. `host` is `None` when the node
/// is mapped to no host or the host has no result: that refuses. `now` in seconds since 1970.
#[must_use]
pub fn admit(
    policies: &PolicySet,
    pod: &PodFacts,
    host: Option<&HostStanding>,
    now: i64,
) -> Admission {
    let mut admission = admit_images(policies, pod);
    for (_, policy) in selecting(policies, pod) {
        let refusals = refusals(policies, &policy.host, host, now);
        add(&mut admission.refusals, refusals);
    }
    admission
}

/// Judges the images of a pod alone, by every `WorkloadPolicy` that is for it: what can be said before it has a node.
#[must_use]
pub fn admit_images(policies: &PolicySet, pod: &PodFacts) -> Admission {
    let mut admission = Admission::open();
    for (name, policy) in selecting(policies, pod) {
        admission.policies.push(name.to_owned());
        let demands = policy.images.iter();
        let refusals = demands.flat_map(|demands| images::refusals(demands, pod));
        add(&mut admission.refusals, refusals.collect());
    }
    admission
}

/// Judges a pod that is one of several, and nobody knows which: it is admitted if it is with each.
/// A pod of which nothing is known is refused.
#[must_use]
pub fn admit_each(
    policies: &PolicySet,
    pods: &[PodFacts],
    host: Option<&HostStanding>,
    now: i64,
) -> Admission {
    let mut all = Admission::open();
    if pods.is_empty() {
        all.refusals.push(Finding::new("pod-unknown"));
    }
    for pod in pods {
        all.add(admit(policies, pod, host, now));
    }
    all
}

/// Adds what is not there yet.
fn add<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

fn refusals(
    policies: &PolicySet,
    half: &HostHalf,
    host: Option<&HostStanding>,
    now: i64,
) -> Vec<Finding> {
    match host {
        Some(host) => host_refusals(policies, half, host, now),
        None => vec![Finding::new("host-unknown")],
    }
}

/// Why `host` does not meet the host half of a `WorkloadPolicy`; empty: it does. `now` in seconds since 1970.
#[must_use]
pub fn host_refusals(
    policies: &PolicySet,
    half: &HostHalf,
    host: &HostStanding,
    now: i64,
) -> Vec<Finding> {
    // A stale result says nothing about now: not why it was good, nor why it was bad.
    if now >= host.expires_at {
        return vec![Finding::new("result-expired").about(&host.host)];
    }
    // Nor does a result of the future: a clock that was set back makes everything look fresh.
    if now < host.challenged_at.saturating_sub(CLOCK_TOLERANCE) {
        return vec![Finding::new("clock-behind").about(&host.host)];
    }
    let mut refusals = Vec::new();
    if !host.tier.satisfies(half.tier) {
        refusals.push(
            Finding::new("tier-insufficient")
                .about(&host.host)
                .expected(half.tier)
                .observed(host.tier),
        );
        refusals.extend(host.findings.iter().cloned());
    }
    if let Some(name) = &half.region {
        refusals.extend(region_refusal(name, policies.regions.get(name), host));
    } else if half.grade.is_some() && host.place.is_none() {
        refusals.push(Finding::new("place-unknown").about(&host.host));
    }
    if let Some(limit) = half.freshness_seconds {
        let age = now.saturating_sub(host.challenged_at);
        if age > limit.seconds() {
            refusals.push(
                Finding::new("result-too-old")
                    .about(&host.host)
                    .expected(format_args!("at most {} s", limit.seconds()))
                    .observed(format_args!("{age} s")),
            );
        }
    }
    refusals
}

fn region_refusal(name: &str, region: Option<&Region>, host: &HostStanding) -> Option<Finding> {
    let Some(place) = &host.place else {
        return Some(
            Finding::new("place-unknown")
                .about(&host.host)
                .expected(name),
        );
    };
    // `PolicySet::parse` lets no dangling name in; if one were here, it would hold no place.
    if region.is_some_and(|region| region.contains(place)) {
        return None;
    }
    Some(
        Finding::new("region-mismatch")
            .about(&host.host)
            .expected(name)
            .observed(place),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refusals for a host that was challenged at 1000 and has no place.
    fn refused(half: &str, now: i64) -> Vec<String> {
        let manifest = format!(
            "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: w}}\n\
             spec: {{pod: {{namespaces: [a]}}, host: {{tier: affirming, {half}}}}}\n"
        );
        let pod = PodFacts {
            namespace: "a".to_owned(),
            ..PodFacts::default()
        };
        let host = HostStanding {
            host: "host-1".parse().unwrap(),
            tier: TrustTier::Affirming,
            place: None,
            findings: Vec::new(),
            challenged_at: 1000,
            expires_at: 9000,
        };
        let policies = PolicySet::parse(&manifest).unwrap();
        let admission = admit(&policies, &pod, Some(&host), now);
        admission.refusals.into_iter().map(|f| f.code).collect()
    }

    #[test]
    fn a_workload_may_demand_a_younger_result() {
        assert!(refused("freshnessSeconds: 30", 1030).is_empty());
        assert_eq!(refused("freshnessSeconds: 30", 1031), ["result-too-old"]);
    }

    #[test]
    fn a_grade_without_a_region_demands_a_place() {
        assert_eq!(refused("grade: L1", 1000), ["place-unknown"]);
    }

    #[test]
    fn a_pod_with_any_of_several_labels_is_admitted_if_it_is_with_each() {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [a], labels: {app: x}}, host: {tier: affirming}}\n";
        let policies = PolicySet::parse(manifest).unwrap();
        let pod = |app: &str| PodFacts {
            namespace: "a".to_owned(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            ..PodFacts::default()
        };
        let judged = |pods: &[PodFacts]| admit_each(&policies, pods, None, 0);
        assert!(judged(&[pod("y")]).policies.is_empty());
        for pods in [
            vec![pod("x")],
            vec![pod("y"), pod("x")],
            vec![pod("x"), pod("y"), pod("x")],
        ] {
            let Admission { policies, refusals } = judged(&pods);
            assert_eq!(policies, ["w"]);
            assert_eq!(refusals.len(), 1);
        }
        let none = judged(&[]);
        assert!(!none.admitted() && none.policies.is_empty());
    }
}
