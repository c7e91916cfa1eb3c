//! Admission: may this pod run on this host?

mod admission;
mod becoming;
mod images;
mod pod;
pub mod workload;

use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::Place;
use touchstone_evidence::result::TrustTier;

use crate::manifest::{HostHalf, PolicySet, Region, WorkloadPolicy};

pub use admission::Admission;
pub use becoming::{Update, bound_with, mirror, tolerating, update};
pub use images::{to_learn, to_verify};
pub use pod::{ImageFacts, ImageUse, PodFacts, REFERENCE_MAX};
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

/// What a pod is to run on.
#[derive(Clone, Copy, Debug)]
pub enum Behind<'a> {
    /// The node of this name, behind which no host stands.
    Nobody(&'a str),
    /// A host; `None`: it has no result.
    Host(Option<&'a HostStanding>),
}

impl HostStanding {
    /// The tier that counts at `now`, seconds since 1970: a stale result says nothing about now.
    #[must_use]
    pub fn tier_at(&self, now: i64) -> TrustTier {
        match self.is_over(now) {
            true => TrustTier::None,
            false => self.tier,
        }
    }

    /// Why that tier is not better.
    #[must_use]
    pub fn findings_at(&self, now: i64) -> Vec<Finding> {
        match self.is_over(now) {
            true => vec![Finding::new("result-expired").about(&self.host)],
            false => self.findings.clone(),
        }
    }

    fn is_over(&self, now: i64) -> bool {
        now >= self.expires_at
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

fn names_of(policies: &PolicySet, pod: &PodFacts) -> Vec<String> {
    let names = selecting(policies, pod).map(|(name, _)| name.to_owned());
    names.collect()
}

/// Why pods of the policies in `selected` may not run on what is `behind`, each reason once; empty: they may. `now` in
/// seconds since 1970.
#[must_use]
pub fn refusals_of(
    policies: &PolicySet,
    selected: &[(&str, &WorkloadPolicy)],
    behind: Behind<'_>,
    now: i64,
) -> Vec<Finding> {
    let mut all = Admission::unconcerned();
    for (_, policy) in selected {
        all.refuse(refusals(policies, &policy.host, behind, now));
    }
    all.refusals().to_vec()
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

/// Judges a pod, and what it is to run on, by every `WorkloadPolicy` that is for this pod. `now` in seconds since 1970.
#[must_use]
pub fn admit(policies: &PolicySet, pod: &PodFacts, behind: Behind<'_>, now: i64) -> Admission {
    let mut admission = admit_images(policies, pod);
    admission.add(admit_host(policies, pod, behind, now));
    admission
}

/// Judges what a pod is to run on alone, by every `WorkloadPolicy` that is for this pod: what may change while it runs.
fn admit_host(policies: &PolicySet, pod: &PodFacts, behind: Behind<'_>, now: i64) -> Admission {
    let selected = policies_for(policies, pod);
    let mut admission = Admission::by(names_of(policies, pod));
    admission.refuse(refusals_of(policies, &selected, behind, now));
    admission
}

/// Judges the images of a pod alone, by every `WorkloadPolicy` that is for it: what can be said before it has a node.
#[must_use]
pub fn admit_images(policies: &PolicySet, pod: &PodFacts) -> Admission {
    let mut admission = Admission::by(names_of(policies, pod));
    let demands = selecting(policies, pod).filter_map(|(_, policy)| policy.images.as_ref());
    for demands in demands {
        admission.refuse(images::refusals(demands, pod));
    }
    admission
}

/// Judges a pod that is one of several, and nobody knows which: it is admitted if it is with each.
/// A pod of which nothing is known is refused.
#[must_use]
pub fn admit_each(
    policies: &PolicySet,
    pods: &[PodFacts],
    behind: Behind<'_>,
    now: i64,
) -> Admission {
    let mut all = Admission::unconcerned();
    if pods.is_empty() {
        all.refuse([Finding::new("pod-unknown")]);
    }
    for pod in pods {
        all.add(admit(policies, pod, behind, now));
    }
    all
}

fn refusals(policies: &PolicySet, half: &HostHalf, behind: Behind<'_>, now: i64) -> Vec<Finding> {
    match behind {
        Behind::Host(Some(host)) => host_refusals(policies, half, host, now),
        Behind::Host(None) => vec![Finding::new("host-unknown")],
        Behind::Nobody(node) => vec![Finding::new("node-unmapped").about(node)],
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
    if host.is_over(now) {
        return host.findings_at(now);
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
        let admission = admit(&policies, &pod, Behind::Host(Some(&host)), now);
        let refusals = admission.refusals().iter();
        refusals.map(|finding| finding.code.clone()).collect()
    }

    #[test]
    fn a_workload_may_demand_a_younger_result() {
        assert!(refused("freshnessSeconds: 30", 1030).is_empty());
        assert_eq!(refused("freshnessSeconds: 30", 1031), ["result-too-old"]);
    }

    #[test]
    fn a_node_without_a_host_is_told_by_its_name_and_once() {
        let manifest = ["v", "w"].map(|name| {
            format!(
                "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: {name}}}\n\
                 spec: {{pod: {{namespaces: [a]}}, host: {{tier: affirming}}}}\n"
            )
        });
        let policies = PolicySet::parse(&manifest.join("---\n")).unwrap();
        let pod = PodFacts {
            namespace: "a".to_owned(),
            ..PodFacts::default()
        };
        let refused = |behind| admit(&policies, &pod, behind, 0).refusals().to_vec();
        let unmapped = Finding::new("node-unmapped").about("node-1");
        assert_eq!(refused(Behind::Nobody("node-1")), [unmapped]);
        assert_eq!(refused(Behind::Host(None)), [Finding::new("host-unknown")]);
    }

    #[test]
    fn what_was_appraised_counts_until_it_is_over() {
        let host = HostStanding {
            host: "host-1".parse().unwrap(),
            tier: TrustTier::Warning,
            place: None,
            findings: vec![Finding::new("a")],
            challenged_at: 0,
            expires_at: 10,
        };
        assert_eq!(host.tier_at(9), TrustTier::Warning);
        assert_eq!(host.findings_at(9), host.findings);
        assert_eq!(host.tier_at(10), TrustTier::None);
        assert_eq!(host.findings_at(10)[0].code, "result-expired");
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
        let judged = |pods: &[PodFacts]| admit_each(&policies, pods, Behind::Host(None), 0);
        assert!(judged(&[pod("y")]).policies().is_empty());
        for pods in [
            vec![pod("x")],
            vec![pod("y"), pod("x")],
            vec![pod("x"), pod("y"), pod("x")],
        ] {
            let judged = judged(&pods);
            assert_eq!(judged.policies(), ["w"]);
            assert_eq!(judged.refusals().len(), 1);
        }
        let none = judged(&[]);
        assert!(!none.admitted() && none.policies().is_empty());
    }
}
