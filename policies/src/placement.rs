//! Where pods belong, as a scheduler is told: node labels that they demand, and what their policies say of their
//! waiting and their end.
//!
//! Invariant: labels only steer. Whether a pod may run on a host is [`crate::admit`]'s to say.

use touchstone_evidence::result::TrustTier;

use crate::manifest::{Digests, ImageDemands, WorkloadPolicy};

/// Label of a node: the tier of the host below it.
pub const TIER_LABEL: &str = "node-restriction.kubernetes.io/touchstone-tier";
/// Label of a node: the country that its host proved to stand in, ISO 3166-1.
pub const COUNTRY_LABEL: &str = "node-restriction.kubernetes.io/touchstone-country";
/// What a label for each Region that holds the place begins with; its value is `true`.
const REGION_LABEL: &str = "node-restriction.kubernetes.io/touchstone-region.";

/// Longest name of a label behind its prefix (Kubernetes, "Labels and Selectors").
const LABEL_NAME_MAX: usize = 63;

/// What a node must be labelled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Key of the label.
    pub label: String,
    /// Values, any of which is enough; none: the label must be there.
    pub values: Vec<String>,
}

/// The label of nodes that stand in the Region of this name; `None` where no label can have that name.
#[must_use]
pub fn region_label(region: &str) -> Option<String> {
    let label = format!("{REGION_LABEL}{region}");
    let (_, name) = label.split_once('/')?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = name.len() <= LABEL_NAME_MAX
        && name.bytes().all(allowed)
        && name.ends_with(|last: char| last.is_ascii_alphanumeric());
    is_name.then_some(label)
}

/// Labels of nodes whose hosts can satisfy all of `selected`; none where no policy is selected. A Region that no
/// label can name is left to admission.
#[must_use]
pub fn demands(selected: &[(&str, &WorkloadPolicy)]) -> Vec<Demand> {
    if selected.is_empty() {
        return Vec::new();
    }
    let mut demands = vec![Demand {
        label: TIER_LABEL.to_owned(),
        values: tiers(selected),
    }];
    for (_, policy) in selected {
        let demand = match &policy.host.region {
            Some(region) => region_label(region).map(|label| Demand {
                label,
                values: vec!["true".to_owned()],
            }),
            None => policy.host.grade.map(|_| Demand {
                label: COUNTRY_LABEL.to_owned(),
                values: Vec::new(),
            }),
        };
        demands.extend(demand.filter(|demand| !demands.contains(demand)));
    }
    demands
}

/// The tiers that are enough for each of them.
fn tiers(selected: &[(&str, &WorkloadPolicy)]) -> Vec<String> {
    [TrustTier::Affirming, TrustTier::Warning]
        .into_iter()
        .filter(|tier| {
            let mut all = selected.iter();
            all.all(|(_, policy)| tier.satisfies(policy.host.tier))
        })
        .map(|tier| tier.to_string())
        .collect()
}

/// For how long the pod may take to end, at most, seconds: the shortest that any of them names, and never none. Zero
/// would take it out of the API while its containers may still run, and nobody would see that they do.
#[must_use]
pub fn termination_grace_seconds(selected: &[(&str, &WorkloadPolicy)]) -> Option<i64> {
    let all = selected.iter();
    all.filter_map(|(_, policy)| policy.placement.termination_grace_seconds)
        .map(|limit| limit.seconds().max(1))
        .min()
}

/// Whether the pod waits until some host fits.
#[must_use]
pub fn holds(selected: &[(&str, &WorkloadPolicy)]) -> bool {
    selected.iter().any(|(_, policy)| policy.placement.hold)
}

/// Whether a digest is to be put in the place of the tag of an image of this full name: where a policy demands digests,
/// none refuses tags, and each lets images come from there. No other registry is asked.
#[must_use]
pub fn pins(selected: &[(&str, &WorkloadPolicy)], name: &str) -> bool {
    let pinned = |demands: &ImageDemands| {
        let from = demands.from.as_ref();
        demands.digests == Digests::Resolved
            && from.is_none_or(|from| from.iter().any(|prefix| prefix.begins(name)))
    };
    let all: Vec<&ImageDemands> = selected
        .iter()
        .filter_map(|(_, policy)| policy.images.as_ref())
        .collect();
    !all.is_empty() && all.into_iter().all(pinned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::collections::BTreeMap;

    use super::*;
    use crate::admit::{PodFacts, policies_for};
    use crate::manifest::PolicySet;

    /// A policy of each of these hosts, all for the same pod.
    fn policies(halves: &[&str]) -> PolicySet {
        let mut text = "apiVersion: touchstone.dev/v1\nkind: Region\nmetadata: {name: germany}\n\
             spec: {version: 1, countries: [DE]}\n---\napiVersion: touchstone.dev/v1\nkind: Region\n\
             metadata: {name: in the south}\nspec: {version: 1, countries: [IT]}\n"
            .to_owned();
        for (at, half) in halves.iter().enumerate() {
            text.push_str(&format!(
                "---\napiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: w{at}}}\n\
                 spec: {{pod: {{namespaces: [a]}}, {half}}}\n"
            ));
        }
        PolicySet::parse(&text).unwrap()
    }

    fn demanded(halves: &[&str]) -> Vec<String> {
        let policies = policies(halves);
        let pod = PodFacts {
            namespace: "a".to_owned(),
            labels: BTreeMap::new(),
            service_account: "default".to_owned(),
            images: Vec::new(),
            workload: None,
            pull_secrets: Vec::new(),
            tolerates: None,
        };
        let all = demands(&policies_for(&policies, &pod)).into_iter();
        all.map(|one| {
            let (_, name) = one.label.split_once('/').unwrap();
            format!("{name} {}", one.values.join("|"))
        })
        .collect()
    }

    #[test]
    fn a_pod_demands_what_each_of_its_policies_does() {
        assert_eq!(demanded(&[]), [""; 0]);
        assert_eq!(
            demanded(&["host: {tier: warning}"]),
            ["touchstone-tier affirming|warning"]
        );
        let several = [
            "host: {tier: warning, region: germany}",
            "host: {tier: affirming, region: germany}",
            "host: {tier: warning, grade: L1}",
        ];
        assert_eq!(
            demanded(&several),
            [
                "touchstone-tier affirming",
                "touchstone-region.germany true",
                "touchstone-country ",
            ]
        );
    }

    #[test]
    fn a_region_that_no_label_can_name_is_left_to_admission() {
        let tier = ["touchstone-tier affirming"];
        assert_eq!(
            demanded(&["host: {tier: affirming, region: in the south}"]),
            tier
        );
        assert_eq!(region_label(&"a".repeat(46)), None);
        assert_eq!(region_label("a-"), None);
        assert_eq!(region_label(""), None);
        assert!(region_label(&"a".repeat(45)).is_some());
    }

    #[test]
    fn the_shortest_end_and_any_hold_count() {
        let policies = policies(&[
            "host: {tier: warning}, placement: {terminationGraceSeconds: 9}",
            "host: {tier: warning}, placement: {terminationGraceSeconds: 5, hold: true}",
            "host: {tier: warning}",
            "host: {tier: warning}, placement: {terminationGraceSeconds: 0}",
        ]);
        let all: Vec<_> = policies
            .workloads
            .iter()
            .map(|(name, policy)| (name.as_str(), policy))
            .collect();
        assert_eq!(termination_grace_seconds(&all[..3]), Some(5));
        assert_eq!(termination_grace_seconds(&all[2..3]), None);
        assert_eq!(termination_grace_seconds(&all), Some(1));
        assert!(holds(&all) && !holds(&all[2..]));
    }

    #[test]
    fn a_tag_is_resolved_where_one_policy_asks_for_it_and_no_other_refuses_it() {
        let pinned = |images: &[&str]| {
            let halves: Vec<String> = images
                .iter()
                .map(|images| format!("host: {{tier: warning}}{images}"))
                .collect();
            let halves: Vec<&str> = halves.iter().map(String::as_str).collect();
            let policies = policies(&halves);
            let all = policies.workloads.iter();
            let all: Vec<_> = all.map(|(name, one)| (name.as_str(), one)).collect();
            pins(&all, "registry.example/payments/api")
        };
        let (resolved, from) = (
            ", images: {digests: resolved}",
            ", images: {digests: resolved, from: [registry.example/payments/]}",
        );
        assert!(pinned(&[resolved]) && pinned(&["", resolved]) && pinned(&[from, resolved]));
        for refused in [
            &[][..],
            &[""],
            &[", images: {}"],
            &[resolved, ", images: {}"],
            &[
                from,
                ", images: {digests: resolved, from: [other.example/]}",
            ],
        ] {
            assert!(!pinned(refused), "{refused:?}");
        }
    }
}
