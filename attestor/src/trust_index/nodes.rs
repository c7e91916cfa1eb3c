//! Nodes, and who stands behind each: a node is its name and its uid, where a cluster is seen, and the boot that its host
//! was appraised in.

mod mappings;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Instant;

use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_policies::admit::HostStanding;

use super::{Held, Inner, TrustIndex};

/// Nodes that are judged before others may write.
const JUDGED_AT_ONCE: usize = 256;

/// Says which node of a name there is now.
pub(crate) type NodeUids = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where in the log it was said who stands behind a node, and who. `None`: somebody did once, and nobody does any more.
pub(super) type Link = (u64, Option<Behind>);

/// Who stands behind a node.
#[derive(Clone)]
pub(super) struct Behind {
    host: HostId,
    /// Which node of the name it is.
    uid: Option<String>,
    /// Since when it is in another boot than before, seconds since 1970.
    booted_at: Option<i64>,
}

/// A host, as it stands behind one of its nodes.
#[derive(Clone, Debug)]
pub(crate) struct OnNode {
    pub(crate) host: HostId,
    /// What is held about it, whichever boot that is of.
    pub(crate) held: Option<Held>,
    /// Whether the node began a boot that no round was appraised in yet.
    pub(crate) rebooted: bool,
}

impl OnNode {
    /// What counts on this node.
    pub(crate) fn standing(&self) -> Option<HostStanding> {
        let standing = &self.held.as_ref()?.standing;
        Some(of_boot(Cow::Borrowed(standing), self.rebooted).into_owned())
    }

    /// The host, and what is held about it as it counts on this node.
    pub(crate) fn counting(self) -> (HostId, Option<Held>) {
        let held = self.held.map(|held| Held {
            standing: of_boot(Cow::Owned(held.standing), self.rebooted).into_owned(),
            ..held
        });
        (self.host, held)
    }
}

impl Behind {
    /// Whether it is this node, of those of its name; of one that was mapped by name alone nobody knows.
    fn is(&self, uid: &str) -> bool {
        self.uid.as_deref() == Some(uid)
    }

    fn rebooted(&self, standing: &HostStanding) -> bool {
        self.booted_at.is_some_and(|at| standing.challenged_at < at)
    }

    /// What counts of its host on this node.
    fn standing<'a>(&self, inner: &'a Inner, instant: Instant) -> Option<Cow<'a, HostStanding>> {
        let standing = inner.hosts.get(&self.host)?.at(instant);
        let rebooted = self.rebooted(&standing);
        Some(of_boot(standing, rebooted))
    }
}

/// What was appraised in one boot says nothing of the next.
fn of_boot(standing: Cow<'_, HostStanding>, rebooted: bool) -> Cow<'_, HostStanding> {
    if !rebooted {
        return standing;
    }
    Cow::Owned(HostStanding {
        tier: TrustTier::None,
        place: None,
        findings: vec![Finding::new("host-rebooted").about(&standing.host)],
        ..standing.into_owned()
    })
}

impl TrustIndex {
    /// From now on a node is the one that `uids` names: its name alone is nobody's.
    pub(crate) fn see_cluster(&self, uids: NodeUids) {
        if self.cluster.set(uids).is_err() {
            tracing::error!("a second cluster is not looked at");
        }
    }

    /// The host behind the node that has this name now; where no cluster is seen, behind whichever node has it.
    pub(crate) fn host_of(&self, node: &str) -> Option<HostId> {
        self.on_node_named(node).map(|on| on.host)
    }

    /// The same, and how it stands there.
    pub(crate) fn on_node_named(&self, node: &str) -> Option<OnNode> {
        let uid = self.uid_now(node)?;
        self.on(node, |behind| {
            uid.as_deref().is_none_or(|uid| behind.is(uid))
        })
    }

    /// The host behind the node of this name and uid. One that was made anew under the name has none, nor has one that was
    /// mapped by name alone.
    pub(crate) fn host_behind(&self, node: &str, uid: &str) -> Option<HostId> {
        self.on_node(node, uid).map(|on| on.host)
    }

    /// The same, and how it stands there.
    pub(crate) fn on_node(&self, node: &str, uid: &str) -> Option<OnNode> {
        self.on(node, |behind| behind.is(uid))
    }

    fn on(&self, node: &str, is_it: impl FnOnce(&Behind) -> bool) -> Option<OnNode> {
        self.look(|inner| {
            let (_, behind) = inner.nodes.get(node)?;
            let behind = behind.as_ref().filter(|behind| is_it(behind))?;
            let held = inner.hosts.get(&behind.host).map(Held::now);
            let standing = held.as_ref().map(|held| &held.standing);
            Some(OnNode {
                host: behind.host.clone(),
                rebooted: standing.is_some_and(|standing| behind.rebooted(standing)),
                held,
            })
        })
    }

    /// Which node of the name there is now: `None`, none; `Some(None)`, nobody knows.
    fn uid_now(&self, node: &str) -> Option<Option<String>> {
        match self.cluster.get() {
            None => Some(None),
            Some(uids) => uids(node).map(Some),
        }
    }

    /// Nodes of all clusters that `host` stands behind, as [`ClusterName::qualify`] calls them, sorted: for what is said of
    /// the host, not for decisions about a node.
    pub(crate) fn nodes_of(&self, host: &HostId) -> Vec<String> {
        let mut nodes: Vec<String> = self.look(|inner| {
            let all = inner.every_node().filter(|(_, _, of)| *of == host);
            all.map(|(cluster, node, _)| cluster.qualify(node))
                .collect()
        });
        nodes.sort_unstable();
        nodes
    }

    /// The same of every host that stands behind a node.
    pub(crate) fn nodes_by_host(&self) -> HashMap<HostId, Vec<String>> {
        let mut nodes: HashMap<HostId, Vec<String>> = HashMap::new();
        self.look(|inner| {
            for (cluster, node, host) in inner.every_node() {
                let nodes = nodes.entry(host.clone()).or_default();
                nodes.push(cluster.qualify(node));
            }
        });
        nodes.values_mut().for_each(|nodes| nodes.sort_unstable());
        nodes
    }

    /// What `judge` says of each of `nodes`, in their order, by the host that stands behind it and what counts of that
    /// there, as [`Self::on_node_named`] has them.
    pub(crate) fn judge_nodes<T>(
        &self,
        nodes: &[&str],
        mut judge: impl FnMut(&str, Option<&HostId>, Option<&HostStanding>) -> T,
    ) -> Vec<T> {
        let mut said = Vec::with_capacity(nodes.len());
        for nodes in nodes.chunks(JUDGED_AT_ONCE) {
            let instant = Instant::now();
            let uids: Vec<_> = nodes.iter().map(|node| self.uid_now(node)).collect();
            self.look(|inner| {
                for (node, uid) in nodes.iter().zip(&uids) {
                    let behind = inner.nodes.get(*node);
                    let behind = behind.and_then(|(_, behind)| behind.as_ref());
                    let behind = behind.filter(|behind| behind.is_now(uid.as_ref()));
                    let standing = behind.and_then(|behind| behind.standing(inner, instant));
                    let host = behind.map(|behind| &behind.host);
                    said.push(judge(node, host, standing.as_deref()));
                }
            });
        }
        said
    }

    /// Whether any node that there is has a host behind it of whose standing there `fits` is true.
    pub(crate) fn any_behind_a_node(&self, fits: impl Fn(&HostStanding) -> bool) -> bool {
        let mut last = None;
        while let Some((node, fitting)) = self.next_fitting(last.as_deref(), &fits) {
            let is_there = |behind: Behind| behind.is_now(self.uid_now(&node).as_ref());
            if fitting.is_some_and(is_there) {
                return true;
            }
            last = Some(node);
        }
        false
    }

    /// The first node after `last` of whose host's standing `fits` is true, whether it is there or not, and who stands behind
    /// it; `None` instead of that: the last of those that are judged at once, and none of them was. Nothing at all: there are no
    /// more.
    fn next_fitting(
        &self,
        last: Option<&str>,
        fits: impl Fn(&HostStanding) -> bool,
    ) -> Option<(String, Option<Behind>)> {
        let instant = Instant::now();
        self.look(|inner| {
            let after = (last.map_or(Unbounded, Excluded), Unbounded);
            let mut looked_at = None;
            for (node, (_, behind)) in inner.nodes.range::<str, _>(after).take(JUDGED_AT_ONCE) {
                looked_at = Some(node);
                let Some(behind) = behind else { continue };
                let standing = behind.standing(inner, instant);
                if standing.is_some_and(|standing| fits(&standing)) {
                    return Some((node.clone(), Some(behind.clone())));
                }
            }
            Some((looked_at?.clone(), None))
        })
    }
}

impl Behind {
    /// The same of the node that there is now, as [`TrustIndex::uid_now`] says.
    fn is_now(&self, uid: Option<&Option<String>>) -> bool {
        uid.is_some_and(|uid| uid.as_deref().is_none_or(|uid| self.is(uid)))
    }
}

impl Inner {
    /// Every node that a host stands behind, with its cluster.
    fn every_node(&self) -> impl Iterator<Item = (&ClusterName, &str, &HostId)> {
        let here = self.nodes.iter();
        let here = here.map(|(node, held)| (&self.cluster, &**node, held));
        let elsewhere = self.elsewhere.iter();
        let elsewhere = elsewhere.map(|((cluster, node), held)| (cluster, &**node, held));
        here.chain(elsewhere)
            .filter_map(|(cluster, node, (_, behind))| {
                Some((cluster, node, &behind.as_ref()?.host))
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::sync::RwLock;

    use touchstone_evidence::digest::Sha256Digest;

    use super::*;
    use crate::store::{MappedNode, NodeBoot};

    fn named(node: &str, host: &HostId) -> MappedNode {
        MappedNode {
            cluster: ClusterName::default(),
            node: node.to_owned(),
            uid: Some("u1".to_owned()),
            host: host.clone(),
            token: None,
            booted_at: None,
        }
    }

    /// An affirming host that was challenged at 90.
    fn affirm(index: &TrustIndex, host: &HostId) {
        let standing = HostStanding {
            host: host.clone(),
            tier: TrustTier::Affirming,
            place: None,
            findings: Vec::new(),
            challenged_at: 90,
            expires_at: 200,
        };
        index.put_host(1, standing, Sha256Digest::ZERO, 100);
    }

    #[test]
    fn a_node_that_was_made_anew_under_its_name_is_another_node() {
        let index = TrustIndex::default();
        let host: HostId = "de-1".parse().unwrap();
        affirm(&index, &host);
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
        let judged = |nodes: &[&str]| {
            index.judge_nodes(nodes, |_, host, standing| {
                host.is_some() && standing.is_some()
            })
        };
        assert_eq!(judged(&["a", "b", "c"]), [true, true, false]);
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
        assert_eq!(judged(&["a", "b", "gone"]), [true, false, false]);
        assert!(index.any_behind_a_node(|_| true));
        *uids.write().unwrap() = "u2";
        assert_eq!(index.host_of("a"), None);
        assert_eq!(judged(&["a"]), [false]);
        assert!(!index.any_behind_a_node(|_| true));
    }

    #[test]
    fn nodes_are_judged_until_one_fits_and_each_of_them_where_none_does() {
        let index = TrustIndex::default();
        let count = 2 * JUDGED_AT_ONCE + 1;
        for number in 0..count {
            let host: HostId = format!("de-{number}").parse().unwrap();
            affirm(&index, &host);
            index.put_node(1, named(&format!("n{number:04}"), &host));
        }
        let judged = std::cell::Cell::new(0);
        let looks = |fitting: usize| {
            judged.set(0);
            let any = index.any_behind_a_node(|_| {
                judged.set(judged.get() + 1);
                judged.get() > fitting
            });
            (any, judged.get())
        };
        assert_eq!(looks(0), (true, 1));
        assert_eq!(looks(JUDGED_AT_ONCE), (true, JUDGED_AT_ONCE + 1));
        assert_eq!(looks(count), (false, count));
        // The first of them that fits is not there any more.
        index.see_cluster(Box::new(|name| (name != "n0000").then(|| "u1".to_owned())));
        assert_eq!(looks(0), (true, 2));
    }

    #[test]
    fn what_was_appraised_before_a_reboot_says_nothing_of_the_boot_after_it() {
        let index = TrustIndex::default();
        let host: HostId = "de-1".parse().unwrap();
        affirm(&index, &host);
        let booted = |order, at| {
            let booted_at = Some(at);
            index.put_node(
                order,
                MappedNode {
                    booted_at,
                    ..named("a", &host)
                },
            );
        };
        booted(1, 90);
        let tier = || {
            let on = index.on_node("a", "u1").unwrap();
            let listed = index.judge_nodes(&["a"], |_, _, standing| standing.unwrap().tier);
            let standing = on.standing().unwrap();
            assert_eq!(listed, [standing.tier]);
            assert!(index.any_behind_a_node(|it| it.tier == standing.tier));
            (on.rebooted, standing.tier, standing.findings)
        };
        assert_eq!(tier(), (false, TrustTier::Affirming, Vec::new()));
        let boot = |uid: &str| NodeBoot {
            cluster: ClusterName::default(),
            node: "a".to_owned(),
            uid: uid.to_owned(),
            boot: "b".to_owned(),
            booted_at: Some(91),
        };
        index.begin_boot(&boot("u2"));
        assert!(!tier().0);
        index.begin_boot(&boot("u1"));
        let why = vec![Finding::new("host-rebooted").about(&host)];
        assert_eq!(tier(), (true, TrustTier::None, why));
        // What was read before that does not unsay it.
        booted(2, 90);
        assert!(tier().0);
        booted(3, 91);
        assert!(tier().0);
        let read = MappedNode {
            booted_at: Some(90),
            ..named("a", &host)
        };
        index.put_nodes_of(4, &host, vec![read]);
        assert!(tier().0);
        // What is held about the host stays: it may be another node's too.
        let held = index.standing(&host).unwrap();
        assert_eq!(held.standing.tier, TrustTier::Affirming);
    }

    #[test]
    fn a_node_of_another_cluster_is_another_node_whatever_it_is_called() {
        let index = TrustIndex::default();
        let host: HostId = "de-1".parse().unwrap();
        affirm(&index, &host);
        let west: ClusterName = "west".parse().unwrap();
        let there = |order| {
            let mapped = MappedNode {
                cluster: west.clone(),
                ..named("a", &host)
            };
            index.put_node(order, mapped);
        };
        there(1);
        let judged = || index.judge_nodes(&["a"], |_, host, _| host.is_some());
        let is_behind = || {
            let answers = [
                index.host_of("a").is_some(),
                index.host_behind("a", "u1").is_some(),
                index.on_node_named("a").is_some(),
                index.on_node("a", "u1").is_some(),
                index.any_behind_a_node(|_| true),
                judged() == [true],
            ];
            assert!(answers.iter().all(|answer| *answer == answers[0]));
            answers[0]
        };
        assert!(!is_behind());
        assert_eq!(index.nodes_of(&host), ["west/a"]);
        index.put_node(2, named("a", &host));
        assert!(is_behind());
        assert_eq!(index.nodes_by_host()[&host], ["a", "west/a"]);
        // What ends there ends nothing here, and what ends with the host ends everywhere.
        index.drop_node(3, west.clone(), "a".to_owned());
        assert!(is_behind());
        assert_eq!(index.nodes_of(&host), ["a"]);
        there(4);
        index.drop_nodes_of(5, &host);
        assert!(!is_behind() && index.nodes_of(&host).is_empty());
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
}
