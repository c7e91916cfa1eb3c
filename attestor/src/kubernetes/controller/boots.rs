//! Boots of nodes, as kubelets report them: earlier than a round, and no proof. A kubelet that lies keeps a verdict of
//! the boot before only until it expires.
//!
//! They are kept in the database: a node that reboots while nobody leads is noticed by who leads next.

use std::collections::HashMap;
use std::sync::Arc;

use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_kubernetes::node::Node;

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::store::{NodeBoot, Store, StoreError};

/// For how long the boot of a node that is not shown is remembered, seconds: one that comes back under its uid may have
/// begun another.
const REMEMBERED_SECONDS: i64 = 24 * 3600;

/// By node uid: the boot that was seen last.
pub(super) struct Boots {
    cluster: ClusterName,
    seen: HashMap<String, Seen>,
}

struct Seen {
    boot: String,
    /// When the node was shown last, seconds since 1970.
    shown_at: i64,
}

/// What is seen of a node for the first time.
#[derive(Debug, Eq, PartialEq)]
enum News {
    /// The node itself.
    First(NodeBoot),
    /// Another boot than the one before.
    Rebooted { now: NodeBoot, before: String },
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
        for seen in store.read().await?.node_boots(cluster).await? {
            boots.saw(seen, now);
        }
        Ok(boots)
    }

    fn saw(&mut self, seen: NodeBoot, now: i64) {
        let boot = Seen {
            boot: seen.boot,
            shown_at: now,
        };
        self.seen.insert(seen.uid, boot);
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
    /// counts no more on the node.
    pub(super) async fn round(
        &mut self,
        attestor: &Attestor,
        nodes: &[Arc<Node>],
        now: i64,
    ) -> Result<(), StoreError> {
        self.forget(nodes, now);
        let mut first = Vec::new();
        for node in nodes {
            match self.news(node, now) {
                Some(News::First(boot))
                    if attestor.index.host_behind(&boot.node, &boot.uid).is_some() =>
                {
                    first.push(boot);
                }
                Some(News::First(_)) | None => {}
                Some(News::Rebooted { now: boot, before }) => {
                    let behind = attestor.index.host_behind(&boot.node, &boot.uid);
                    if let Some(host) = behind {
                        note_reboot(attestor, host, &boot, before, now).await?;
                        self.saw(boot, now);
                    }
                }
            }
        }
        if first.is_empty() {
            return Ok(());
        }
        let mut tx = attestor.store.write().await?;
        for boot in &first {
            tx.set_node_boot(boot).await?;
        }
        tx.commit().await?;
        for boot in first {
            self.saw(boot, now);
        }
        Ok(())
    }

    fn news(&self, node: &Node, now: i64) -> Option<News> {
        let uid = node.metadata.uid.clone()?;
        let boot = node.status.as_ref()?.node_info.as_ref()?.boot_id.clone();
        let before = self.seen.get(&uid).map(|seen| &seen.boot);
        if boot.is_empty() || before == Some(&boot) {
            return None;
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
                before: before.clone(),
            },
        })
    }
}

async fn note_reboot(
    attestor: &Attestor,
    host: HostId,
    boot: &NodeBoot,
    before: String,
    now: i64,
) -> Result<(), StoreError> {
    let mut tx = attestor.store.write().await?;
    if !tx.set_node_boot(boot).await? {
        return Ok(());
    }
    let event = Event::NodeRebooted {
        cluster: boot.cluster.clone(),
        node: boot.node.clone(),
        uid: boot.uid.clone(),
        host,
        boot: boot.boot.clone(),
        before,
    };
    let order = audit::append(&mut tx, &event, &Actor::Attestor, now).await?;
    let mapped = tx.mapped_node(&boot.cluster, &boot.node).await?;
    tx.commit().await?;
    if let Some(mapped) = mapped {
        attestor.index.put_node(order, mapped);
    }
    tracing::warn!(k8s.node = boot.node, "a node began another boot");
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

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
        let news = boots.news(&node("u", "1"), 100);
        assert_eq!(news, Some(News::First(seen("u", "1", None))));
        boots.saw(seen("u", "1", None), 100);
        assert_eq!(boots.news(&node("u", "1"), 101), None);
        assert_eq!(boots.news(&node("u", ""), 101), None);
        let rebooted = News::Rebooted {
            now: seen("u", "2", Some(102)),
            before: "1".to_owned(),
        };
        assert_eq!(boots.news(&node("u", "2"), 102), Some(rebooted));
        let news = boots.news(&node("v", "2"), 103);
        assert_eq!(news, Some(News::First(seen("v", "2", None))));
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
        assert_eq!(boots.news(&node("v", "1"), 101), None);
        boots.forget(&shown, 100 + REMEMBERED_SECONDS);
        assert_eq!(boots.seen.keys().collect::<Vec<_>>(), ["u"]);
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
        assert!(tx.set_node_boot(&boot("1", None)).await.unwrap());
        tx.commit().await.unwrap();
        // It rebooted while nobody led.
        let boots = Boots::load(&store, &here, 6).await.unwrap();
        let news = boots.news(&node("u", "2"), 7);
        assert!(matches!(news, Some(News::Rebooted { before, .. }) if before == "1"));
        let mut tx = store.write().await.unwrap();
        assert!(tx.set_node_boot(&boot("2", Some(7))).await.unwrap());
        let held = tx.mapped_node(&here, "a").await.unwrap().unwrap();
        assert_eq!(held.booted_at, Some(7));
        // Another node of the name, and one that is mapped anew, are in the boot that is seen first.
        let other = NodeBoot {
            uid: "v".to_owned(),
            ..boot("3", None)
        };
        assert!(!tx.set_node_boot(&other).await.unwrap());
        tx.map_node(&mapped).await.unwrap();
        assert_eq!(tx.node_boots(&here).await.unwrap(), []);
    }
}
