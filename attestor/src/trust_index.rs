//! What admission decides from, in memory: standing of each host, node mapping, policies in force.
//!
//! It is filled from the database at start and after each commit, never before one. Each change comes
//! with its place in the log; what is older than what is held changes nothing, in whatever order
//! requests get here after their commits. What other replicas commit comes by [`crate::follower`], which also
//! confirms that nothing was missed: what nobody confirmed lately says nothing.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_policies::admit::HostStanding;
use touchstone_policies::manifest::PolicySet;

use crate::store::{Committed, MappedNode, Store};

/// How long what is held counts after it was last confirmed.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(3);

/// Nodes that are judged before others may write.
const JUDGED_AT_ONCE: usize = 256;

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
    /// The standing; one that is over by monotonic time is so by wall time too.
    fn at(&self, instant: Instant) -> Cow<'_, HostStanding> {
        if instant < self.ends {
            return Cow::Borrowed(&self.standing);
        }
        let mut over = self.standing.clone();
        over.expires_at = i64::MIN;
        Cow::Owned(over)
    }
}

/// Shared by all requests; each call holds the lock for a few lines, never across an await.
#[derive(Default)]
pub(crate) struct TrustIndex {
    inner: RwLock<Inner>,
    committed: Committed,
    cluster: OnceLock<NodeUids>,
}

/// Says which node of a name there is now.
pub(crate) type NodeUids = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Who stands behind a node.
struct Behind {
    host: HostId,
    /// Which node of the name it is.
    uid: Option<String>,
}

struct Inner {
    hosts: HashMap<HostId, Held>,
    /// `None`: mapped once, and no longer.
    nodes: HashMap<String, (u64, Option<Behind>)>,
    /// Where in the log the identity of a host ended last.
    ended: HashMap<HostId, u64>,
    policies: (u64, Arc<PolicySet>),
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
            nodes: HashMap::new(),
            ended: HashMap::new(),
            policies: (0, Arc::new(PolicySet::empty())),
            followed: 0,
            own: BTreeSet::new(),
            confirmed: None,
        }
    }
}

impl TrustIndex {
    /// Nothing yet, of a store that is to write nothing into a log with fewer entries than are known here.
    pub(crate) fn of(store: &Store) -> Self {
        Self {
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
        self.change(order, |inner| {
            let newest = inner
                .hosts
                .get(&held.standing.host)
                .is_none_or(|old| old.order <= held.order);
            if newest {
                inner.hosts.insert(held.standing.host.clone(), held);
            }
        });
    }

    /// Takes over a committed mapping. One from before the host's end took the node away from whom it was
    /// mapped to, and then ended itself.
    pub(crate) fn put_node(&self, order: u64, mapped: MappedNode) {
        let MappedNode {
            node, uid, host, ..
        } = mapped;
        self.change(order, |inner| {
            if inner.nodes.get(&node).is_none_or(|(old, _)| *old <= order) {
                let ended = inner.ended.get(&host).is_some_and(|end| order < *end);
                let behind = (!ended).then_some(Behind { host, uid });
                inner.nodes.insert(node, (order, behind));
            }
        });
    }

    /// Takes over that no host stands behind `node` any more.
    pub(crate) fn drop_node(&self, order: u64, node: String) {
        self.change(order, |inner| {
            if inner.nodes.get(&node).is_none_or(|(old, _)| *old <= order) {
                inner.nodes.insert(node, (order, None));
            }
        });
    }

    /// Takes over that `host` stands behind no node any more.
    pub(crate) fn drop_nodes_of(&self, order: u64, host: &HostId) {
        self.change(order, |inner| drop_nodes(inner, order, host));
    }

    /// Takes over committed policies.
    pub(crate) fn put_policies(&self, order: u64, policies: Arc<PolicySet>) {
        self.change(order, |inner| {
            if inner.policies.0 <= order {
                inner.policies = (order, policies);
            }
        });
    }

    /// The policies in force.
    pub(crate) fn policies(&self) -> Arc<PolicySet> {
        self.look(|inner| Arc::clone(&inner.policies.1))
    }

    /// From now on a node is the one that `uids` names: its name alone is nobody's.
    pub(crate) fn see_cluster(&self, uids: NodeUids) {
        if self.cluster.set(uids).is_err() {
            tracing::error!("a second cluster is not looked at");
        }
    }

    /// The host behind the node that has this name now; where no cluster is seen, behind whichever node has it.
    pub(crate) fn host_of(&self, node: &str) -> Option<HostId> {
        if let Some(uids) = self.cluster.get() {
            return self.host_behind(node, &uids(node)?);
        }
        self.look(|inner| {
            let (_, behind) = inner.nodes.get(node)?;
            behind.as_ref().map(|behind| behind.host.clone())
        })
    }

    /// The host behind the node of this name and uid. One that was made anew under the name has none, nor has one that was
    /// mapped by name alone.
    pub(crate) fn host_behind(&self, node: &str, uid: &str) -> Option<HostId> {
        self.look(|inner| {
            let (_, behind) = inner.nodes.get(node)?;
            let behind = behind.as_ref();
            let behind = behind.filter(|behind| behind.uid.as_deref() == Some(uid));
            behind.map(|behind| behind.host.clone())
        })
    }

    /// Nodes that `host` stands behind, sorted.
    pub(crate) fn nodes_of(&self, host: &HostId) -> Vec<String> {
        let mut nodes: Vec<String> = self.look(|inner| {
            let behind = inner
                .nodes
                .iter()
                .filter(|(_, (_, behind))| is_behind(behind.as_ref(), host));
            behind.map(|(node, _)| node.clone()).collect()
        });
        nodes.sort_unstable();
        nodes
    }

    /// Nodes of every host that stands behind one, sorted.
    pub(crate) fn nodes_by_host(&self) -> HashMap<HostId, Vec<String>> {
        let mut nodes: HashMap<HostId, Vec<String>> = HashMap::new();
        self.look(|inner| {
            for (node, (_, behind)) in &inner.nodes {
                if let Some(behind) = behind {
                    let nodes = nodes.entry(behind.host.clone()).or_default();
                    nodes.push(node.clone());
                }
            }
        });
        nodes.values_mut().for_each(|nodes| nodes.sort_unstable());
        nodes
    }

    /// What is held about `host`, unless its monotonic time is over: then its expiry is moved into
    /// the past, so that whoever judges it by the wall clock sees it expired too.
    pub(crate) fn standing(&self, host: &HostId) -> Option<Held> {
        let mut held = self.look(|inner| inner.hosts.get(host).cloned())?;
        held.standing = held.at(Instant::now()).into_owned();
        Some(held)
    }

    /// What `judge` says of each of `nodes`, in their order, by the host that stands behind it and what is held about
    /// that, as [`Self::host_of`] and [`Self::standing`] have them.
    pub(crate) fn judge_nodes<T>(
        &self,
        nodes: &[&str],
        mut judge: impl FnMut(&str, Option<&HostId>, Option<&HostStanding>) -> T,
    ) -> Vec<T> {
        let mut said = Vec::with_capacity(nodes.len());
        for nodes in nodes.chunks(JUDGED_AT_ONCE) {
            let instant = Instant::now();
            self.look(|inner| {
                for node in nodes {
                    let behind = inner
                        .nodes
                        .get(*node)
                        .and_then(|(_, behind)| behind.as_ref());
                    let host = behind.map(|behind| &behind.host);
                    let held = host.and_then(|host| inner.hosts.get(host));
                    let standing = held.map(|held| held.at(instant));
                    said.push(judge(node, host, standing.as_deref()));
                }
            });
        }
        said
    }

    /// Whether any node has a host behind it of whose standing `fits` is true.
    pub(crate) fn any_behind_a_node(&self, fits: impl Fn(&HostStanding) -> bool) -> bool {
        let instant = Instant::now();
        self.look(|inner| {
            let mut behind = inner
                .nodes
                .values()
                .filter_map(|(_, behind)| behind.as_ref());
            behind.any(|behind| {
                let held = inner.hosts.get(&behind.host);
                held.is_some_and(|held| fits(&held.at(instant)))
            })
        })
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

    /// Takes over that `host` stands behind these nodes and no others.
    pub(crate) fn put_nodes_of(&self, order: u64, host: &HostId, nodes: Vec<MappedNode>) {
        self.change(order, |inner| {
            drop_nodes(inner, order, host);
            for MappedNode {
                node, uid, host, ..
            } in nodes
            {
                if inner.nodes.get(&node).is_none_or(|(old, _)| *old <= order) {
                    inner
                        .nodes
                        .insert(node, (order, Some(Behind { host, uid })));
                }
            }
        });
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
    }

    /// Takes over an entry that changes nothing here.
    pub(crate) fn note(&self, order: u64) {
        self.change(order, |_| ());
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
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        self.committed.raise(order.saturating_add(1));
        if order >= inner.followed {
            inner.own.insert(order);
        }
        write(&mut inner)
    }
}

fn drop_nodes(inner: &mut Inner, order: u64, host: &HostId) {
    let end = inner.ended.entry(host.clone()).or_insert(order);
    *end = order.max(*end);
    for (old, behind) in inner.nodes.values_mut() {
        if is_behind(behind.as_ref(), host) && *old <= order {
            (*old, *behind) = (order, None);
        }
    }
}

fn is_behind(behind: Option<&Behind>, host: &HostId) -> bool {
    behind.is_some_and(|behind| behind.host == *host)
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

    fn named(node: &str, host: &HostId) -> MappedNode {
        MappedNode {
            node: node.to_owned(),
            uid: Some("u1".to_owned()),
            host: host.clone(),
            token: None,
        }
    }

    #[test]
    fn a_node_that_was_made_anew_under_its_name_is_another_node() {
        let index = TrustIndex::default();
        let host: HostId = "de-1".parse().unwrap();
        index.put_node(1, named("a", &host));
        assert_eq!(index.host_behind("a", "u1"), Some(host.clone()));
        assert_eq!(index.host_behind("a", "u2"), None);
        let unseen = MappedNode {
            uid: None,
            ..named("b", &host)
        };
        index.put_node(2, unseen);
        assert_eq!(index.host_behind("b", "u1"), None);
        assert_eq!(index.host_of("b"), Some(host.clone()));
        // Once the cluster is seen, a name alone is nobody's.
        let uids = RwLock::new("u1");
        let uids: &'static RwLock<&str> = Box::leak(Box::new(uids));
        index.see_cluster(Box::new(|name| {
            (name != "gone").then(|| (*uids.read().unwrap()).to_owned())
        }));
        assert_eq!(index.host_of("a"), Some(host.clone()));
        assert_eq!(index.host_of("b"), None);
        index.put_node(3, named("gone", &host));
        assert_eq!(index.host_of("gone"), None);
        *uids.write().unwrap() = "u2";
        assert_eq!(index.host_of("a"), None);
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
    fn a_host_that_ended_is_behind_no_node_until_it_is_mapped_anew() {
        let index = TrustIndex::default();
        let host: HostId = "de-1".parse().unwrap();
        index.put_node(3, named("old", &host));
        index.put_node(9, named("later", &host));
        index.drop_nodes_of(7, &host);
        assert_eq!(index.nodes_of(&host), ["later"]);
        // A mapping that was committed before the end, published after it.
        index.put_node(5, named("old", &host));
        assert_eq!(index.host_of("old"), None);
        index.put_node(4, named("fresh", &host));
        assert_eq!(index.host_of("fresh"), None);
        // It had taken the node away from another host before it ended.
        index.put_node(2, named("taken", &"de-2".parse().unwrap()));
        index.put_node(6, named("taken", &host));
        assert_eq!(index.host_of("taken"), None);
        index.put_node(8, named("old", &host));
        assert_eq!(index.host_of("old"), Some(host));
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
        assert_eq!(index.unfollowed(), (3, BTreeSet::from([3, 5])));
        index.confirm(5, Instant::now());
        assert_eq!(index.unfollowed(), (5, BTreeSet::from([5])));
        assert_eq!(index.committed(), 6);
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
