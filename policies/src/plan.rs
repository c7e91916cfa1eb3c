//! What other manifests would make of the same claims: for an officer, before they come into force.

use std::collections::BTreeSet;

use touchstone_evidence::claims::Claims;

use crate::admit::{HostStanding, host_refusals};
use crate::appraise::{Appraisal, appraise};
use crate::manifest::PolicySet;

/// Of the hosts that are affirming, the part that one change may take away unasked: one in so many.
const DRAIN_PART: usize = 3;

/// One host under two sets of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Under those in force.
    pub before: Appraisal,
    /// Under the others.
    pub after: Appraisal,
    /// `WorkloadPolicy` manifests that would let their pods run here and do not yet.
    pub allowed: Vec<String>,
    /// Those that let their pods run here and would not any more.
    pub refused: Vec<String>,
}

/// Judges `claims` under `old` and under `new`, as if the host had attested `now`. Seconds since 1970.
///
/// A `WorkloadPolicy` that only one of them has demands nothing of any host in the other one.
#[must_use]
pub fn compare(old: &PolicySet, new: &PolicySet, claims: &Claims, now: i64) -> Comparison {
    let before = appraise(old, claims);
    let after = appraise(new, claims);
    let names: BTreeSet<&String> = old.workloads.keys().chain(new.workloads.keys()).collect();
    let standings = (
        standing(claims, &before, now),
        standing(claims, &after, now),
    );
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for name in names {
        match (
            admits(old, name, &standings.0, now),
            admits(new, name, &standings.1, now),
        ) {
            (false, true) => allowed.push(name.clone()),
            (true, false) => refused.push(name.clone()),
            _ => {}
        }
    }
    Comparison {
        before,
        after,
        allowed,
        refused,
    }
}

/// Whether taking affirming away from `falling` of `affirming` hosts is more than one change may do unasked.
#[must_use]
pub fn drains(affirming: usize, falling: usize) -> bool {
    falling.saturating_mul(DRAIN_PART) > affirming
}

fn standing(claims: &Claims, appraisal: &Appraisal, now: i64) -> HostStanding {
    HostStanding {
        host: claims.host().clone(),
        tier: appraisal.tier,
        place: appraisal.place.clone(),
        findings: appraisal.findings.clone(),
        challenged_at: now,
        expires_at: now.saturating_add(appraisal.freshness_seconds),
    }
}

fn admits(policies: &PolicySet, name: &str, host: &HostStanding, now: i64) -> bool {
    let workload = policies.workloads.get(name);
    workload.is_none_or(|workload| host_refusals(policies, &workload.host, host, now).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_may_fall_and_no_more() {
        for (affirming, falling, drain) in [
            (0, 0, false),
            (1, 0, false),
            (1, 1, true),
            (3, 1, false),
            (3, 2, true),
            (300, 100, false),
            (300, 101, true),
        ] {
            assert_eq!(
                drains(affirming, falling),
                drain,
                "{falling} of {affirming}"
            );
        }
    }
}
