//! The circuit breaker: what one change may take away from the fleet unasked.

use std::collections::BTreeMap;

use serde::Serialize;
use touchstone_policies::manifest::PolicySet;
use touchstone_policies::plan::{Comparison, Share};

/// What is held of a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// At its last round, however long ago.
    pub(super) affirming: bool,
    /// Whether its verdict is in force now.
    pub(super) fresh: bool,
}

/// A `WorkloadPolicy` whose pods would lose too many hosts.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Starving {
    pub(super) workload: String,
    /// Hosts on which its pods can run now.
    pub(super) allowing: usize,
    /// Those of them on which they could not any more.
    pub(super) falling: usize,
}

/// Counts, host by host.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Hosts that were affirming at their last round: after an outage no verdict is fresh.
    affirming: Share,
    /// Those of them whose verdict is fresh: hosts that are long gone must not outweigh them.
    fresh: Share,
    /// Hosts that each `WorkloadPolicy` in force allows.
    workloads: BTreeMap<String, Share>,
    /// Affirming hosts, for each `WorkloadPolicy` that is not in force yet.
    new_workloads: BTreeMap<String, Share>,
}

impl Breaker {
    pub(super) fn new(old: &PolicySet, new: &PolicySet) -> Self {
        let names = new.workloads.keys();
        let names = names.filter(|name| !old.workloads.contains_key(*name));
        Self {
            new_workloads: names.map(|name| (name.clone(), Share::default())).collect(),
            ..Self::default()
        }
    }

    /// A host of which nobody can say that it would stay falls.
    pub(super) fn host(&mut self, held: Held, falls: bool) {
        if held.affirming {
            self.affirming.add(falls);
        }
        if held.affirming && held.fresh {
            self.fresh.add(falls);
        }
    }

    pub(super) fn workloads(&mut self, held: Held, compared: &Comparison) {
        for name in &compared.allowing {
            let share = self.workloads.entry(name.clone()).or_default();
            share.add(compared.refused.contains(name));
        }
        for (name, share) in &mut self.new_workloads {
            if held.affirming {
                share.add(compared.refused.contains(name));
            }
        }
    }

    /// Of the affirming hosts, those that would fall: of all, or of the fresh ones where those are too many.
    pub(super) fn fall(&self) -> Share {
        match self.fresh.drains() {
            true => self.fresh,
            false => self.affirming,
        }
    }

    /// One in force may not lose more than its share; a new one must leave its pods at least one host.
    pub(super) fn starving(&self) -> Vec<Starving> {
        let fewer = self.workloads.iter().filter(|(_, share)| share.drains());
        let none = self.new_workloads.iter();
        let none = none.filter(|(_, share)| share.of > 0 && share.falling == share.of);
        fewer
            .chain(none)
            .map(|(name, share)| Starving {
                workload: name.clone(),
                allowing: share.of,
                falling: share.falling,
            })
            .collect()
    }
}
