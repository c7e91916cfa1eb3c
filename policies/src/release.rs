//! Release: may this host have the key of a layer? The call that asks carries no pod, so the host half of the
//! `WorkloadPolicy` that the key is bound to is what is judged.

use touchstone_evidence::finding::Finding;

use crate::admit::{HostStanding, host_refusals};
use crate::manifest::PolicySet;

/// Why `host` may not have what is bound to the `WorkloadPolicy` with this name; empty: it may. `host` is `None` where
/// nothing holds of it: that refuses, and so does a policy that is not in force. `now` in seconds since 1970.
#[must_use]
pub fn release(
    policies: &PolicySet,
    policy: &str,
    host: Option<&HostStanding>,
    now: i64,
) -> Vec<Finding> {
    let Some(workload) = policies.workloads.get(policy) else {
        return vec![Finding::new("workload-policy-unknown").about(policy)];
    };
    match host {
        Some(host) => host_refusals(policies, &workload.host, host, now),
        None => vec![Finding::new("host-unappraised")],
    }
}

#[cfg(test)]
mod tests {
    use touchstone_evidence::result::TrustTier;

    use super::*;

    const MANIFEST: &str = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: payments}\n\
         spec: {pod: {namespaces: [a], labels: {app: x}}, host: {tier: affirming}}\n";

    fn standing(tier: TrustTier) -> HostStanding {
        HostStanding {
            host: "host-1".parse().unwrap(),
            tier,
            place: None,
            findings: Vec::new(),
            challenged_at: 1000,
            expires_at: 1300,
        }
    }

    fn refused(policy: &str, host: Option<&HostStanding>, now: i64) -> Vec<String> {
        let policies = PolicySet::parse(MANIFEST).unwrap();
        let refusals = release(&policies, policy, host, now);
        refusals.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn the_host_half_decides_whatever_the_pod() {
        let healthy = standing(TrustTier::Affirming);
        assert!(refused("payments", Some(&healthy), 1100).is_empty());
        for tier in [
            TrustTier::None,
            TrustTier::Warning,
            TrustTier::Contraindicated,
        ] {
            let host = standing(tier);
            let why = refused("payments", Some(&host), 1100);
            assert_eq!(why, ["tier-insufficient"], "{tier}");
        }
        assert_eq!(
            refused("payments", Some(&healthy), 1300),
            ["result-expired"]
        );
    }

    #[test]
    fn what_is_absent_refuses() {
        let healthy = standing(TrustTier::Affirming);
        let gone = refused("gone", Some(&healthy), 1100);
        assert_eq!(gone, ["workload-policy-unknown"]);
        assert_eq!(refused("payments", None, 1100), ["host-unappraised"]);
    }
}
