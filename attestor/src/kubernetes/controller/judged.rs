//! What is held about a node, and what it should carry for it.

use std::collections::BTreeMap;

use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::config::Taints;
use touchstone_kubernetes::names::{COUNTRY, TIER, region_label};
use touchstone_policies::manifest::PolicySet;

use crate::trust_index::Held;

/// Why pods are to be kept away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// No host stands behind the node, or none that was appraised.
    New,
    /// The node began a boot that was not appraised yet.
    Rebooted,
    /// The host is not trusted, or no longer.
    Untrusted,
}

/// A node, judged.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) host: Option<HostId>,
    pub(super) held: Option<Held>,
    /// The tier that counts now.
    pub(super) tier: TrustTier,
    /// Why the tier is not better.
    pub(super) why: Vec<Finding>,
    pub(super) fault: Option<Fault>,
}

impl Judged {
    /// `booted_at`: when the node was seen to have begun another boot, seconds since 1970.
    pub(super) fn of(
        host: Option<HostId>,
        held: Option<Held>,
        booted_at: Option<i64>,
        now: i64,
    ) -> Self {
        let (tier, why) = match (&host, &held) {
            (None, _) => (TrustTier::None, vec![Finding::new("node-unmapped")]),
            (Some(host), None) => (
                TrustTier::None,
                vec![Finding::new("host-unknown").about(host)],
            ),
            (Some(host), Some(held)) if now >= held.standing.expires_at => (
                TrustTier::None,
                vec![Finding::new("result-expired").about(host)],
            ),
            (Some(_), Some(held)) => (held.standing.tier, held.standing.findings.clone()),
        };
        let before_boot =
            |held: &Held| booted_at.is_some_and(|at| held.standing.challenged_at < at);
        let fault = match &held {
            None => Some(Fault::New),
            Some(_) if !tier.satisfies(TrustTier::Warning) => Some(Fault::Untrusted),
            Some(held) if before_boot(held) => Some(Fault::Rebooted),
            Some(_) => None,
        };
        Self {
            host,
            held,
            tier,
            why,
            fault,
        }
    }

    /// Our labels, all of them. A node that no host stands behind carries none.
    pub(super) fn labels(&self, policies: &PolicySet) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        if self.host.is_none() {
            return labels;
        }
        labels.insert(TIER.to_owned(), self.tier.to_string());
        let place = self
            .held
            .as_ref()
            .and_then(|held| held.standing.place.as_ref());
        // Where a host that is not trusted stands, nobody knows.
        let Some(place) = place.filter(|_| self.tier.satisfies(TrustTier::Warning)) else {
            return labels;
        };
        labels.insert(COUNTRY.to_owned(), place.country().to_string());
        for (name, region) in &policies.regions {
            // One whose name can end no label is asked for by no affinity either.
            if let Some(label) = region_label(name).filter(|_| region.contains(place)) {
                labels.insert(label, "true".to_owned());
            }
        }
        labels
    }
}

impl Fault {
    /// The taint's value, if the switches say that such nodes are tainted.
    pub(super) fn taint(self, switches: Taints) -> Option<&'static str> {
        match self {
            Self::New => switches.new.then_some("new"),
            Self::Rebooted => switches.rebooted.then_some("rebooted"),
            Self::Untrusted => switches.untrusted.then_some("untrusted"),
        }
    }
}
