//! What admission decides from, in memory: standing of each host, node mapping, policies in force.
//!
//! It is filled from the database at start and after each commit, never before one. Each change comes
//! with its place in the log; what is older than what is held changes nothing, in whatever order
//! requests get here after their commits. What other replicas commit comes by [`crate::follower`], which also
//! confirms that nothing was missed: what nobody confirmed lately says nothing.

mod nodes;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_policies::admit::HostStanding;
use touchstone_policies::manifest::PolicySet;

use crate::store::{Committed, Store};
pub(crate) use nodes::OnNode;
use nodes::{Link, NodeUids};

/// How long what is held counts after it was last confirmed.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(3);

/// A host's standing and the audit entry that it came from.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) standing: HostStanding,
    pub(crate) entry: Sha256Digest,
    order: u64,
    /// Monotonic end of the standing: a clock set back must not lengthen it.
    ends: Instant,
}

impl Held {
    /// Whether it says the same of the host, however long.
    fn stands_as(&self, other: &Self) -> bool {
        self.standing.tier == other.standing.tier && self.standing.place == other.standing.place
    }

    /// The standing; one that is over by monotonic time is so by wall time too.
    fn at(&self, instant: Instant) -> Cow<'_, HostStanding> {
        if instant < self.ends {
            return Cow::Borrowed(&self.standing);
        }
        let mut over = self.standing.clone();
        over.expires_at = i64::MIN;
        Cow::Owned(over)
    }

    /// The same, as it stands now: where its monotonic time is over, its expiry is moved into the past, so that whoever
    /// judges it by the wall clock sees it expired too.
    fn now(&self) -> Self {
        Self {
            standing: self.at(Instant::now()).into_owned(),
            entry: self.entry,
            order: self.order,
            ends: self.ends,
        }
    }
}

/// Shared by all requests; each call holds the lock for a few lines, never across an await.
#[derive(Default)]
pub(crate) struct TrustIndex {
    inner: RwLock<Inner>,
    committed: Committed,
    cluster: OnceLock<NodeUids>,
    /// Told when a host stands otherwise than before.
    turns: Notify,
}

struct Inner {
    hosts: HashMap<HostId, Held>,
    /// Of this process.
    cluster: ClusterName,
    /// Nodes of its cluster, by name. Decisions look at no others: a name says nothing of another cluster's. In order, so that
    /// who looks at all of them may let others write in between.
    nodes: BTreeMap<String, Link>,
    /// Those of other clusters.
    elsewhere: HashMap<(ClusterName, String), Link>,
    /// Where in the log the identity of a host ended last.
    ended: HashMap<HostId, u64>,
    policies: (u64, Arc<PolicySet>),
    /// Turns of hosts, changes of nodes and of policies.
    changes: u64,
    /// Entries up to which nothing was missed.
    followed: u64,
    /// Entries from there on that this process published itself.
    own: BTreeSet<u64>,
    /// When that was last so.
    confirmed: Option<Instant>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            hosts: HashMap::new(),
            cluster: ClusterName::default(),
            nodes: BTreeMap::new(),
            elsewhere: HashMap::new(),
            ended: HashMap::new(),
            policies: (0, Arc::new(PolicySet::empty())),
            changes: 0,
            followed: 0,
            own: BTreeSet::new(),
            confirmed: None,
        }
    }
}

impl TrustIndex {
    /// Nothing yet, for decisions about nodes of `cluster`, of a store that is to write nothing into a log with fewer
    /// entries than are known here.
    pub(crate) fn of(store: &Store, cluster: ClusterName) -> Self {
        let inner = Inner {
            cluster,
            ..Inner::default()
        };
        Self {
            inner: RwLock::new(inner),
            committed: store.committed(),
            ..Self::default()
        }
    }

    /// Takes over a committed verdict; `order` is the index of its entry.
    pub(crate) fn put_host(
        &self,
        order: u64,
        standing: HostStanding,
        entry: Sha256Digest,
        now: i64,
    ) {
        let left = u64::try_from(standing.expires_at.saturating_sub(now)).unwrap_or(0);
        let begins = Instant::now();
        let held = Held {
            ends: begins
                .checked_add(Duration::from_secs(left))
                .unwrap_or(begins),
            entry,
            order,
            standing,
        };
        let turned = {
            let mut inner = self.written(order);
            let old = inner.hosts.get(&held.standing.host);
            if old.is_some_and(|old| old.order > held.order) {
                return;
            }
            let turned = old.is_none_or(|old| !old.stands_as(&held));
            let was_over = old.is_some_and(|old| begins >= old.ends);
            inner.hosts.insert(held.standing.host.clone(), held);
            if turned || was_over {
                inner.changes = inner.changes.wrapping_add(1);
            }
            turned
        };
        if turned {
            self.turns.notify_one();
        }
    }

    /// Waits until a host stands otherwise than before: at once, if one does since the last time. For one waiter.
    pub(crate) async fn turned(&self) {
        self.turns.notified().await;
    }

    /// Takes over committed policies.
    pub(crate) fn put_policies(&self, order: u64, policies: Arc<PolicySet>) {
        self.change(order, |inner| {
            if inner.policies.0 <= order {
                inner.policies = (order, policies);
            }
        });
    }

    /// Another number once a host stands otherwise, or again, and after each change of nodes and policies. That one stands as
    /// before for longer is none, nor is that its time is over.
    pub(crate) fn changes(&self) -> u64 {
        self.look(|inner| inner.changes)
    }

    /// The policies in force.
    pub(crate) fn policies(&self) -> Arc<PolicySet> {
        self.look(|inner| Arc::clone(&inner.policies.1))
    }

    /// What is held about `host`, wherever it stands: for what is said of it, not for decisions about a node.
    pub(crate) fn standing(&self, host: &HostId) -> Option<Held> {
        self.look(|inner| inner.hosts.get(host).map(Held::now))
    }

    /// How many hosts stand in each tier now; those whose time is over in none.
    pub(crate) fn tiers(&self, now: i64) -> [(TrustTier, usize); 4] {
        let mut tiers = [
            (TrustTier::None, 0),
            (TrustTier::Affirming, 0),
            (TrustTier::Warning, 0),
            (TrustTier::Contraindicated, 0),
        ];
        let instant = Instant::now();
        self.look(|inner| {
            for held in inner.hosts.values() {
                let over = instant >= held.ends || now >= held.standing.expires_at;
                let tier = match over {
                    true => TrustTier::None,
                    false => held.standing.tier,
                };
                for (other, count) in &mut tiers {
                    *count += usize::from(*other == tier);
                }
            }
        });
        tiers
    }

    /// Takes over that nothing is known of `host`. What says so already stays, since it says why.
    pub(crate) fn drop_standing(&self, order: u64, host: &HostId) {
        self.change(order, |inner| {
            let says_something = |held: &Held| held.standing.tier != TrustTier::None;
            let old = inner.hosts.get(host).filter(|held| says_something(held));
            if old.is_some_and(|old| old.order <= order) {
                inner.hosts.remove(host);
            }
        });
        self.turns.notify_one();
    }

    /// Takes over an entry that changes nothing here.
    pub(crate) fn note(&self, order: u64) {
        drop(self.written(order));
    }

    /// The first entry that may have been missed, and those from there on that were not.
    pub(crate) fn unfollowed(&self) -> (u64, BTreeSet<u64>) {
        self.look(|inner| (inner.followed, inner.own.clone()))
    }

    /// Says that nothing of the first `size` entries is missing, as it was `when`.
    pub(crate) fn confirm(&self, size: u64, when: Instant) {
        self.committed.raise(size);
        self.follow_to(size);
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.confirmed = inner.confirmed.max(Some(when));
    }

    /// Says that nothing of the first `size` entries is missing, while there may be more.
    pub(crate) fn follow_to(&self, size: u64) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.followed < size {
            inner.followed = size;
            inner.own = inner.own.split_off(&size);
        }
    }

    /// Whether what is held is as new as it must be to say anything.
    pub(crate) fn is_confirmed(&self) -> bool {
        let confirmed = self.look(|inner| inner.confirmed);
        confirmed.is_some_and(|when| when.elapsed() < UNCONFIRMED_MAX)
    }

    /// Entries of the log that are known to be committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.entries()
    }

    fn look<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, order: u64, write: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.written(order);
        inner.changes = inner.changes.wrapping_add(1);
        write(&mut inner)
    }

    /// What is held, with the entry noted.
    fn written(&self, order: u64) -> RwLockWriteGuard<'_, Inner> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        self.committed.raise(order.saturating_add(1));
        if order >= inner.followed {
            inner.own.insert(order);
        }
        inner
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use touchstone_evidence::result::TrustTier;

    use super::*;

    fn standing(tier: TrustTier, expires_at: i64) -> HostStanding {
        HostStanding {
            host: "de-1".parse().unwrap(),
            tier,
            place: None,
            findings: Vec::new(),
            challenged_at: 90,
            expires_at,
        }
    }

    #[test]
    fn what_was_committed_later_stays_whatever_is_published_last() {
        let index = TrustIndex::default();
        let host = "de-1".parse().unwrap();
        let tier = || index.standing(&host).map(|held| held.standing.tier);
        index.put_host(
            7,
            standing(TrustTier::Contraindicated, 200),
            Sha256Digest::ZERO,
            100,
        );
        index.put_host(
            6,
            standing(TrustTier::Affirming, 200),
            Sha256Digest::ZERO,
            100,
        );
        assert_eq!(tier(), Some(TrustTier::Contraindicated));
    }

    #[test]
    fn what_was_not_confirmed_lately_says_nothing() {
        let index = TrustIndex::default();
        assert!(!index.is_confirmed());
        let now = Instant::now();
        index.confirm(3, now.checked_sub(UNCONFIRMED_MAX).unwrap());
        assert!(!index.is_confirmed());
        index.confirm(3, now);
        assert!(index.is_confirmed());
        // An older look at the database does not undo a newer one.
        index.confirm(2, now.checked_sub(UNCONFIRMED_MAX).unwrap());
        assert!(index.is_confirmed());
    }

    #[test]
    fn what_this_process_published_need_not_be_followed() {
        let index = TrustIndex::default();
        index.confirm(3, Instant::now());
        for order in [2, 3, 5] {
            index.note(order);
        }
        assert_eq!(index.changes(), 0);
        assert_eq!(index.unfollowed(), (3, BTreeSet::from([3, 5])));
        index.confirm(5, Instant::now());
        assert_eq!(index.unfollowed(), (5, BTreeSet::from([5])));
        assert_eq!(index.committed(), 6);
    }

    #[tokio::test]
    async fn who_waits_is_told_of_a_host_that_turns_and_of_none_that_stays() {
        let index = TrustIndex::default();
        let told = async || {
            let soon = Duration::from_millis(1);
            tokio::time::timeout(soon, index.turned()).await.is_ok()
        };
        let put = |order, tier| {
            index.put_host(order, standing(tier, 200), Sha256Digest::ZERO, 100);
        };
        put(1, TrustTier::Affirming);
        assert!(told().await);
        put(2, TrustTier::Affirming);
        assert!(!told().await, "as before");
        put(4, TrustTier::Contraindicated);
        assert!(told().await);
        put(3, TrustTier::Affirming);
        assert!(!told().await, "older than what is held");
        index.drop_standing(5, &"de-1".parse().unwrap());
        assert!(told().await);
    }

    #[test]
    fn rounds_that_turn_nothing_change_nothing_that_is_remembered() {
        let index = TrustIndex::default();
        let put = |order, tier, expires_at| {
            let before = index.changes();
            index.put_host(order, standing(tier, expires_at), Sha256Digest::ZERO, 100);
            index.changes() - before
        };
        assert_eq!(put(1, TrustTier::Affirming, 200), 1);
        assert_eq!(put(2, TrustTier::Affirming, 300), 0, "as before");
        assert_eq!(put(4, TrustTier::Warning, 300), 1);
        assert_eq!(put(3, TrustTier::Affirming, 300), 0, "older");
        assert_eq!(put(5, TrustTier::Warning, 100), 0);
        assert_eq!(put(6, TrustTier::Warning, 300), 1, "it was over");
        let before = index.changes();
        index.put_policies(7, Arc::new(PolicySet::empty()));
        index.drop_standing(8, &"de-1".parse().unwrap());
        assert_eq!(index.changes() - before, 2);
    }

    #[test]
    fn a_standing_ends_by_the_monotonic_clock_too() {
        let index = TrustIndex::default();
        // It expires at once by the clock that was read when it was committed.
        index.put_host(
            1,
            standing(TrustTier::Affirming, 100),
            Sha256Digest::ZERO,
            100,
        );
        let held = index.standing(&"de-1".parse().unwrap()).unwrap();
        assert_eq!(held.standing.expires_at, i64::MIN);
    }
}
