//! Boots of nodes, as kubelets report them: earlier than a round, and no proof. A kubelet that lies keeps a verdict of
//! the boot before only until it expires.
//!
//! They are kept in the database: a node that reboots while nobody leads is noticed by who leads next.

use std::collections::HashMap;
use std::slice;
use std::sync::Arc;

use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_kubernetes::node::Node;

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::store::{NodeBoot, Store, StoreError, UntoldBoots};

/// For how long the boot of a node that is not shown is remembered, seconds: one that comes back under its uid may have
/// begun another.
const REMEMBERED_SECONDS: i64 = 24 * 3600;

/// Seconds between two entries of one node that proves itself in neither: what its kubelet says meanwhile is counted.
const PAUSE_SECONDS: i64 = 60;

/// By node uid: the boot that was seen last.
pub(super) struct Boots {
    cluster: ClusterName,
    seen: HashMap<String, Seen>,
}

struct Seen {
    boot: NodeBoot,
    /// When the node was shown last, seconds since 1970.
    shown_at: i64,
    told: Told,
}

/// What the log says of a node.
#[derive(Clone)]
struct Told {
    boot: String,
    /// When that was written; `None`: by no entry of this replica.
    at: Option<i64>,
    /// How many boots came since.
    untold: u64,
}

impl Told {
    fn is_lately(&self, now: i64) -> bool {
        self.at
            .is_some_and(|at| now.saturating_sub(at) < PAUSE_SECONDS)
    }
}

impl From<UntoldBoots> for Told {
    fn from(UntoldBoots { told, count }: UntoldBoots) -> Self {
        Self {
            boot: told,
            at: None,
            untold: count,
        }
    }
}

/// What is to be written down of a node.
enum News {
    /// It is seen for the first time.
    First(NodeBoot),
    /// It is in another boot than the log says.
    Rebooted { now: NodeBoot, told: Told },
}

impl Boots {
    /// As whoever led before left them.
    pub(super) async fn load(
        store: &Store,
        cluster: &ClusterName,
        now: i64,
    ) -> Result<Self, StoreError> {
        let mut boots = Self {
            cluster: cluster.clone(),
            seen: HashMap::new(),
        };
        for (seen, untold) in store.read().await?.node_boots(cluster).await? {
            match untold {
                Some(untold) => boots.put(seen, Told::from(untold), now),
                None => boots.saw(seen, now),
            }
        }
        Ok(boots)
    }

    fn saw(&mut self, boot: NodeBoot, now: i64) {
        let told = Told {
            boot: boot.boot.clone(),
            at: None,
            untold: 0,
        };
        self.put(boot, told, now);
    }

    fn put(&mut self, boot: NodeBoot, told: Told, now: i64) {
        let uid = boot.uid.clone();
        let seen = Seen {
            boot,
            shown_at: now,
            told,
        };
        self.seen.insert(uid, seen);
    }

    /// Forgets nodes that were not shown for long.
    fn forget(&mut self, nodes: &[Arc<Node>], now: i64) {
        for uid in nodes.iter().filter_map(|node| node.metadata.uid.as_ref()) {
            if let Some(seen) = self.seen.get_mut(uid) {
                seen.shown_at = now;
            }
        }
        let remembered = |seen: &Seen| now.saturating_sub(seen.shown_at) < REMEMBERED_SECONDS;
        self.seen.retain(|_, seen| remembered(seen));
    }

    /// Writes down what is new of the nodes that a host stands behind. A reboot is an entry: what was appraised before it
    /// counts no more on the node. What could not be written of one node is tried again in the next round, and keeps nothing of
    /// the others.
    pub(super) async fn round(&mut self, attestor: &Attestor, nodes: &[Arc<Node>], now: i64) {
        self.forget(nodes, now);
        let is_up = || attestor.index.is_confirmed();
        let mut first = Vec::new();
        for node in nodes {
            match self.news(node, now) {
                Some(News::First(boot))
                    if attestor.index.host_behind(&boot.node, &boot.uid).is_some() =>
                {
                    first.push(boot);
                }
                Some(News::First(_)) | None => {}
                Some(News::Rebooted { now: boot, told }) => {
                    let behind = attestor.index.host_behind(&boot.node, &boot.uid);
                    let Some(host) = behind else {
                        continue;
                    };
                    match note_reboot(attestor, host, &boot, told, now).await {
                        Ok(told) => self.put(boot, told, now),
                        Err(error) => not_written(&boot, &error),
                    }
                    // A database that is away would be waited for with each node.
                    if !is_up() {
                        return;
                    }
                }
            }
        }
        self.keep_first(&attestor.store, is_up, first, now).await;
    }

    /// Writes boots that were seen first: together, and if that fails one by one, for as long as the database is up.
    async fn keep_first(
        &mut self,
        store: &Store,
        is_up: impl Fn() -> bool,
        first: Vec<NodeBoot>,
        now: i64,
    ) {
        if first.is_empty() {
            return;
        }
        let together = keep(store, &first).await.is_ok();
        for boot in first {
            let kept = match together {
                true => Ok(()),
                false if is_up() => keep(store, slice::from_ref(&boot)).await,
                false => return,
            };
            match kept {
                Ok(()) => self.saw(boot, now),
                Err(error) => not_written(&boot, &error),
            }
        }
    }

    fn news(&self, node: &Node, now: i64) -> Option<News> {
        let uid = node.metadata.uid.clone()?;
        let boot = node.status.as_ref()?.node_info.as_ref()?.boot_id.clone();
        let before = self.seen.get(&uid);
        if boot.is_empty() {
            return None;
        }
        if let Some(seen) = before.filter(|seen| seen.boot.boot == boot) {
            let due = seen.told.untold > 0 && !seen.told.is_lately(now);
            return due.then(|| News::Rebooted {
                now: seen.boot.clone(),
                told: seen.told.clone(),
            });
        }
        let seen = NodeBoot {
            cluster: self.cluster.clone(),
            node: node.metadata.name.clone()?,
            uid,
            boot,
            booted_at: before.map(|_| now),
        };
        Some(match before {
            None => News::First(seen),
            Some(before) => News::Rebooted {
                now: seen,
                told: Told {
                    untold: before.told.untold.saturating_add(1),
                    ..before.told.clone()
                },
            },
        })
    }
}

async fn keep(store: &Store, boots: &[NodeBoot]) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    for boot in boots {
        tx.set_node_boot(boot, None).await?;
    }
    tx.commit().await
}

fn not_written(boot: &NodeBoot, error: &StoreError) {
    let error = error as &dyn std::error::Error;
    tracing::error!(
        error,
        k8s.node = boot.node,
        "the boot of a node could not be written down"
    );
}

/// Takes over another boot at once, and writes an entry of it; of a node that says one after the other without a proof
/// between them, one a minute. Returns what the log says now.
async fn note_reboot(
    attestor: &Attestor,
    host: HostId,
    boot: &NodeBoot,
    told: Told,
    now: i64,
) -> Result<Told, StoreError> {
    let on = attestor.index.on_node(&boot.node, &boot.uid);
    let proven = on.is_some_and(|on| on.held.is_some() && !on.rebooted);
    // For whoever leads next, who would not know.
    let untold = (told.is_lately(now) && !proven).then(|| UntoldBoots {
        told: told.boot.clone(),
        count: told.untold,
    });
    let mut tx = attestor.store.write().await?;
    if !tx.set_node_boot(boot, untold.as_ref()).await? {
        return Ok(told);
    }
    if untold.is_some() {
        tx.commit().await?;
        attestor.index.begin_boot(boot);
        return Ok(told);
    }
    let event = Event::NodeRebooted {
        cluster: boot.cluster.clone(),
        node: boot.node.clone(),
        uid: boot.uid.clone(),
        host,
        boot: boot.boot.clone(),
        before: told.boot,
        untold: told.untold.saturating_sub(1),
    };
    let order = audit::append(&mut tx, &event, &Actor::Attestor, now).await?;
    let mapped = tx.mapped_node(&boot.cluster, &boot.node).await?;
    tx.commit().await?;
    if let Some(mapped) = mapped {
        attestor.index.put_node(order, mapped);
    }
    tracing::warn!(k8s.node = boot.node, "a node began another boot");
    Ok(Told {
        boot: boot.boot.clone(),
        at: Some(now),
        untold: 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::panic,
        clippy::unwrap_used,
        reason = "tests stop at the first surprise"
    )]

    use serde_json::json;
    use touchstone_evidence::digest::Sha256Digest;

    use super::*;
    use crate::store::{InventoryEntry, MappedNode};

    fn node(uid: &str, boot: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": "a", "uid": uid },
            "spec": {},
            "status": { "nodeInfo": { "bootID": boot } },
        }))
        .unwrap()
    }

    fn rebooted(news: Option<News>) -> (NodeBoot, Told) {
        match news {
            Some(News::Rebooted { now, told }) => (now, told),
            _ => panic!("it did not reboot"),
        }
    }

    #[test]
    fn another_boot_id_is_another_boot_and_another_node_is_none() {
        let mut boots = Boots {
            cluster: ClusterName::default(),
            seen: HashMap::new(),
        };
        let seen = |uid: &str, boot: &str, booted_at| NodeBoot {
            cluster: ClusterName::default(),
            node: "a".to_owned(),
            uid: uid.to_owned(),
            boot: boot.to_owned(),
            booted_at,
        };
        let first = |news| match news {
            Some(News::First(boot)) => boot,
            _ => panic!("it is not new"),
        };
        let one = first(boots.news(&node("u", "1"), 100));
        assert_eq!(one, seen("u", "1", None));
        boots.saw(one, 100);
        assert!(boots.news(&node("u", "1"), 101).is_none());
        assert!(boots.news(&node("u", ""), 101).is_none());
        let (now, told) = rebooted(boots.news(&node("u", "2"), 102));
        assert_eq!(now, seen("u", "2", Some(102)));
        assert_eq!((&*told.boot, told.at, told.untold), ("1", None, 1));
        let other = first(boots.news(&node("v", "2"), 103));
        assert_eq!(other, seen("v", "2", None));
    }

    #[test]
    fn boots_that_were_not_told_are_told_after_a_pause_as_they_were_seen() {
        let mut boots = Boots {
            cluster: ClusterName::default(),
            seen: HashMap::new(),
        };
        let boot = |boot: &str, at| NodeBoot {
            cluster: ClusterName::default(),
            node: "a".to_owned(),
            uid: "u".to_owned(),
            boot: boot.to_owned(),
            booted_at: Some(at),
        };
        let told = Told {
            boot: "2".to_owned(),
            at: Some(100),
            untold: 0,
        };
        boots.put(boot("2", 100), told, 100);
        for (id, at) in [("3", 101), ("4", 102)] {
            let (now, told) = rebooted(boots.news(&node("u", id), at));
            assert_eq!(now, boot(id, at));
            assert!(told.is_lately(at));
            boots.put(now, told, at);
        }
        assert!(boots.news(&node("u", "4"), 159).is_none());
        // Since when it is in that boot does not change by being told.
        let (now, told) = rebooted(boots.news(&node("u", "4"), 160));
        assert_eq!(now, boot("4", 102));
        assert_eq!(
            (&*told.boot, told.untold, told.is_lately(160)),
            ("2", 2, false),
            "boots-counted"
        );
    }

    #[test]
    fn a_node_that_is_gone_for_long_is_forgotten_and_one_that_comes_back_before_is_not() {
        let mut boots = Boots {
            cluster: ClusterName::default(),
            seen: HashMap::new(),
        };
        for uid in ["u", "v"] {
            let seen = NodeBoot {
                cluster: ClusterName::default(),
                node: "a".to_owned(),
                uid: uid.to_owned(),
                boot: "1".to_owned(),
                booted_at: None,
            };
            boots.saw(seen, 100);
        }
        let shown = [Arc::new(node("u", "1"))];
        boots.forget(&shown, 99 + REMEMBERED_SECONDS);
        assert!(boots.news(&node("v", "1"), 101).is_none());
        boots.forget(&shown, 100 + REMEMBERED_SECONDS);
        assert_eq!(boots.seen.keys().collect::<Vec<_>>(), ["u"]);
    }

    #[tokio::test]
    async fn a_boot_that_the_database_refuses_loses_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let store = store.unwrap();
        let host: HostId = "de-1".parse().unwrap();
        let machine = InventoryEntry {
            host: host.clone(),
            ek_digests: vec![Sha256Digest::ZERO],
        };
        let here = ClusterName::default();
        let boot = |node: &str| NodeBoot {
            cluster: here.clone(),
            node: node.to_owned(),
            uid: node.to_owned(),
            boot: "1".to_owned(),
            booted_at: None,
        };
        let mut tx = store.write().await.unwrap();
        assert!(tx.add_inventory(&[machine], 6).await.unwrap());
        for node in ["a", "b", "c"] {
            let mapped = MappedNode {
                cluster: here.clone(),
                node: node.to_owned(),
                uid: Some(node.to_owned()),
                host: host.clone(),
                token: None,
                booted_at: None,
            };
            tx.map_node(&mapped).await.unwrap();
        }
        tx.run(
            "CREATE TRIGGER refuses BEFORE UPDATE OF boot ON nodes WHEN new.node = 'b'
             BEGIN SELECT raise(ABORT, 'no'); END",
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let mut boots = Boots::load(&store, &here, 6).await.unwrap();
        let first = || ["a", "b", "c"].map(boot).to_vec();
        // Of a database that is away nothing is asked again and again.
        boots.keep_first(&store, || false, first(), 7).await;
        assert!(boots.seen.is_empty());
        boots.keep_first(&store, || true, first(), 7).await;
        let mut seen: Vec<_> = boots.seen.keys().map(String::as_str).collect();
        seen.sort_unstable();
        assert_eq!(seen, ["a", "c"]);
        let mut tx = store.read().await.unwrap();
        let kept = tx.node_boots(&here).await.unwrap();
        assert_eq!(kept, [(boot("a"), None), (boot("c"), None)]);
    }

    #[tokio::test]
    async fn who_leads_next_goes_on_with_the_boots_that_were_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let store = store.unwrap();
        let here = ClusterName::default();
        let host: HostId = "de-1".parse().unwrap();
        let machine = InventoryEntry {
            host: host.clone(),
            ek_digests: vec![Sha256Digest::ZERO],
        };
        let mapped = MappedNode {
            cluster: ClusterName::default(),
            node: "a".to_owned(),
            uid: Some("u".to_owned()),
            host,
            token: None,
            booted_at: None,
        };
        let mut tx = store.write().await.unwrap();
        assert!(tx.add_inventory(&[machine], 6).await.unwrap());
        tx.map_node(&mapped).await.unwrap();
        let boot = |boot: &str, booted_at| NodeBoot {
            cluster: ClusterName::default(),
            node: "a".to_owned(),
            uid: "u".to_owned(),
            boot: boot.to_owned(),
            booted_at,
        };
        assert!(tx.set_node_boot(&boot("1", None), None).await.unwrap());
        tx.commit().await.unwrap();
        // It rebooted while nobody led.
        let boots = Boots::load(&store, &here, 6).await.unwrap();
        let (_, told) = rebooted(boots.news(&node("u", "2"), 7));
        assert_eq!(told.boot, "1");
        let mut tx = store.write().await.unwrap();
        assert!(tx.set_node_boot(&boot("2", Some(7)), None).await.unwrap());
        let held = tx.mapped_node(&here, "a").await.unwrap().unwrap();
        assert_eq!(held.booted_at, Some(7));
        // Two more came within the minute, and who led is gone: they are told at once.
        let untold = UntoldBoots {
            told: "2".to_owned(),
            count: 2,
        };
        let set = tx.set_node_boot(&boot("4", Some(8)), Some(&untold)).await;
        assert!(set.unwrap());
        tx.commit().await.unwrap();
        let boots = Boots::load(&store, &here, 9).await.unwrap();
        let (now, told) = rebooted(boots.news(&node("u", "4"), 9));
        assert_eq!(now, boot("4", Some(8)));
        assert_eq!((&*told.boot, told.at, told.untold), ("2", None, 2));
        let mut tx = store.write().await.unwrap();
        assert!(tx.set_node_boot(&now, None).await.unwrap());
        tx.commit().await.unwrap();
        let boots = Boots::load(&store, &here, 10).await.unwrap();
        assert!(boots.news(&node("u", "4"), 10).is_none());
        let mut tx = store.write().await.unwrap();
        // Another node of the name, and one that was unmapped meanwhile, are in the boot that is seen first.
        let other = NodeBoot {
            uid: "v".to_owned(),
            ..boot("3", None)
        };
        assert!(!tx.set_node_boot(&other, None).await.unwrap());
        tx.unmap_node(&here, "a").await.unwrap();
        tx.map_node(&mapped).await.unwrap();
        assert_eq!(tx.node_boots(&here).await.unwrap(), []);
    }
}
