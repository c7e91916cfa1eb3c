//! What is held about a node, and what it should carry for it.

use std::collections::BTreeMap;

use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::config::Taints;
use touchstone_kubernetes::names::{COUNTRY, TIER, region_label};
use touchstone_policies::manifest::PolicySet;

use crate::trust_index::{Held, OnNode};

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
    /// What is held about it, as it counts on this node.
    pub(super) held: Option<Held>,
    /// The tier that counts now.
    pub(super) tier: TrustTier,
    /// Why the tier is not better.
    pub(super) why: Vec<Finding>,
    pub(super) fault: Option<Fault>,
}

impl Judged {
    /// `on`: the host behind the node, and how it stands there.
    pub(super) fn of(on: Option<OnNode>, now: i64) -> Self {
        let Some(on) = on else {
            return Self {
                host: None,
                held: None,
                tier: TrustTier::None,
                why: vec![Finding::new("node-unmapped")],
                fault: Some(Fault::New),
            };
        };
        let fault = fault(&on, now);
        let (host, held) = on.counting();
        let (tier, why) = match &held {
            None => (
                TrustTier::None,
                vec![Finding::new("host-unknown").about(&host)],
            ),
            Some(Held { standing, .. }) => (standing.tier_at(now), standing.findings_at(now)),
        };
        Self {
            host: Some(host),
            held,
            tier,
            why,
            fault,
        }
    }

    /// Whether its last verdict was good, though it may be over.
    pub(super) fn was_trusted(&self) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| held.standing.tier.satisfies(TrustTier::Warning))
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

fn fault(on: &OnNode, now: i64) -> Option<Fault> {
    let Some(held) = &on.held else {
        return Some(Fault::New);
    };
    if !held.standing.tier_at(now).satisfies(TrustTier::Warning) {
        return Some(Fault::Untrusted);
    }
    on.rebooted.then_some(Fault::Rebooted)
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
