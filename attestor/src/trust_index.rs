//! What admission decides from, in memory: standing of each host, node mapping, policies in force.
//!
//! It is filled from the database at start and after each commit, never before one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_policies::admit::HostStanding;
use touchstone_policies::manifest::PolicySet;

/// A host's standing and the audit entry that it came from.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) standing: HostStanding,
    pub(crate) entry: Sha256Digest,
    /// Monotonic end of the standing: a clock set back must not lengthen it.
    ends: Instant,
}

/// Shared by all requests; each call holds the lock for a few lines, never across an await.
#[derive(Default)]
pub(crate) struct TrustIndex {
    inner: RwLock<Inner>,
}

struct Inner {
    hosts: HashMap<HostId, Held>,
    nodes: HashMap<String, HostId>,
    policies: Arc<PolicySet>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            hosts: HashMap::new(),
            nodes: HashMap::new(),
            policies: Arc::new(PolicySet::empty()),
        }
    }
}

impl TrustIndex {
    /// Takes over a committed verdict.
    pub(crate) fn put_host(&self, standing: HostStanding, entry: Sha256Digest, now: i64) {
        let left = u64::try_from(standing.expires_at.saturating_sub(now)).unwrap_or(0);
        let begins = Instant::now();
        let held = Held {
            ends: begins
                .checked_add(Duration::from_secs(left))
                .unwrap_or(begins),
            entry,
            standing,
        };
        self.change(|inner| {
            let newest = inner
                .hosts
                .get(&held.standing.host)
                .is_none_or(|old| old.standing.challenged_at <= held.standing.challenged_at);
            if newest {
                inner.hosts.insert(held.standing.host.clone(), held);
            }
        });
    }

    /// Takes over a committed mapping.
    pub(crate) fn put_node(&self, node: String, host: HostId) {
        self.change(|inner| {
            inner.nodes.insert(node, host);
        });
    }

    /// Takes over committed policies.
    pub(crate) fn put_policies(&self, policies: Arc<PolicySet>) {
        self.change(|inner| inner.policies = policies);
    }

    /// The policies in force.
    pub(crate) fn policies(&self) -> Arc<PolicySet> {
        self.look(|inner| Arc::clone(&inner.policies))
    }

    /// The host behind a node.
    pub(crate) fn host_of(&self, node: &str) -> Option<HostId> {
        self.look(|inner| inner.nodes.get(node).cloned())
    }

    /// Nodes that `host` stands behind, sorted.
    pub(crate) fn nodes_of(&self, host: &HostId) -> Vec<String> {
        let mut nodes: Vec<String> = self.look(|inner| {
            let behind = inner.nodes.iter().filter(|(_, other)| *other == host);
            behind.map(|(node, _)| node.clone()).collect()
        });
        nodes.sort_unstable();
        nodes
    }

    /// What is held about `host`, unless its monotonic time is over: then its expiry is moved into
    /// the past, so that whoever judges it by the wall clock sees it expired too.
    pub(crate) fn standing(&self, host: &HostId) -> Option<Held> {
        let mut held = self.look(|inner| inner.hosts.get(host).cloned())?;
        if Instant::now() >= held.ends {
            held.standing.expires_at = i64::MIN;
        }
        Some(held)
    }

    fn look<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, write: impl FnOnce(&mut Inner) -> T) -> T {
        write(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}
