//! What other manifests would make of the same claims: for an officer, before they come into force.

use std::collections::BTreeSet;

use touchstone_evidence::claims::Claims;
use touchstone_evidence::result::TrustTier;

use crate::admit::{HostStanding, host_refusals};
use crate::appraise::{Appraisal, appraise};
use crate::manifest::PolicySet;

/// Of the hosts that have something, the part that one change may take it from unasked: one in so many.
const DRAIN_PART: usize = 3;

/// Of how many one change would take something away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Those that have it.
    pub of: usize,
    /// Those of them that would not have it any more.
    pub falling: usize,
}

impl Share {
    /// One more that has it.
    pub fn add(&mut self, falls: bool) {
        self.of = self.of.saturating_add(1);
        self.falling = self.falling.saturating_add(usize::from(falls));
    }

    /// Whether that is more than one change may do unasked.
    #[must_use]
    pub fn drains(self) -> bool {
        self.falling.saturating_mul(DRAIN_PART) > self.of
    }
}

/// One host under two sets of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Under those in force.
    pub before: Appraisal,
    /// Under the others.
    pub after: Appraisal,
    /// Whether its verdict outlasts the time between its rounds under those in force, and would not any more.
    pub lapses: bool,
    /// `WorkloadPolicy` manifests in force that let their pods run here.
    pub allowing: Vec<String>,
    /// `WorkloadPolicy` manifests that would let their pods run here and do not yet.
    pub allowed: Vec<String>,
    /// Those that let their pods run here and would not any more.
    pub refused: Vec<String>,
}

impl Comparison {
    /// Whether it is affirming under those in force, and would not be any more, or not from round to round.
    #[must_use]
    pub fn falls(&self) -> bool {
        let affirming = |appraisal: &Appraisal| appraisal.tier == TrustTier::Affirming;
        affirming(&self.before) && (!affirming(&self.after) || self.lapses)
    }
}

/// Judges `claims` under `old` and under `new`, as if the host had attested `now`, seconds since 1970. `interval`:
/// seconds between its last two rounds; what is allowed now and would not outlast them is refused.
///
/// A `WorkloadPolicy` that only one of them has demands nothing of any host in the other one.
#[must_use]
pub fn compare(
    old: &PolicySet,
    new: &PolicySet,
    claims: &Claims,
    now: i64,
    interval: Option<i64>,
) -> Comparison {
    let before = appraise(old, claims);
    let after = appraise(new, claims);
    let names: BTreeSet<&String> = old.workloads.keys().chain(new.workloads.keys()).collect();
    let standings = (
        standing(claims, &before, now),
        standing(claims, &after, now),
    );
    // Just before its next round.
    let later = now.saturating_add(interval.unwrap_or_default().max(0));
    let (mut allowing, mut allowed, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let [admits_now, admits_later] = [now, later].map(|at| {
            (
                admits(old, name, &standings.0, at),
                admits(new, name, &standings.1, at),
            )
        });
        if admits_now.0 && old.workloads.contains_key(name) {
            allowing.push(name.clone());
        }
        match (admits_now, admits_later) {
            ((true, false), _) | (_, (true, false)) => refused.push(name.clone()),
            ((false, true), _) => allowed.push(name.clone()),
            _ => {}
        }
    }
    let outlasts = |standing: &HostStanding| later < standing.expires_at;
    Comparison {
        lapses: outlasts(&standings.0) && !outlasts(&standings.1),
        allowing,
        before,
        after,
        allowed,
        refused,
    }
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
        for (of, falling, drain) in [
            (0, 0, false),
            (1, 0, false),
            (1, 1, true),
            (3, 1, false),
            (3, 2, true),
            (300, 100, false),
            (300, 101, true),
        ] {
            assert_eq!(Share { of, falling }.drains(), drain, "{falling} of {of}");
        }
    }
}
