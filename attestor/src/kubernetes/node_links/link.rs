//! Writes down that a host stands behind the node of its token, as an operator's mapping is written down.
//!
//! Who is there first stays: a token may have been copied, and then two hosts sign for it.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_kubernetes::tokens::{NodeRef, ReviewedToken};

use crate::appraisal::SignedToken;
use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event, NodeProof};
use crate::store::{MappedNode, StoreError, Tx};

/// Why the node is not the host's.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// Another host stands behind it.
    #[error(
        "host `{holder}` stands behind node `{node}`; if that is another machine by now, \
         run `touchstone node unmap {node} --cluster {cluster}`"
    )]
    Claimed {
        /// Whose it is.
        holder: HostId,
        /// Its name.
        node: String,
        /// In which cluster.
        cluster: ClusterName,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is to be done about a node.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// It is the host's already.
    Stands,
    /// It becomes the host's. `before`: the other host that stood behind the node of this name before.
    Takes { before: Option<HostId> },
}

/// Links, unless it is so already. Of the nodes that tokens showed the host to be, it keeps the newest.
pub(super) async fn link(
    attestor: &Attestor,
    signed: &SignedToken,
    reviewed: &ReviewedToken,
    now: i64,
) -> Result<(), LinkError> {
    let (host, node) = (signed.host(), reviewed.node());
    let behind = attestor.index.host_behind(&node.name, &node.uid);
    if behind.as_ref() == Some(host) {
        return Ok(());
    }
    let mut tx = attestor.store.write().await?;
    // What rested on an identity that ended is void.
    if tx.end_of(signed.tls_key()).await?.is_some() {
        return Ok(());
    }
    let cluster = &attestor.cluster;
    let held = tx.mapped_node(cluster, &node.name).await?;
    let Claim::Takes { before } = claim(held.as_ref(), host, node)? else {
        return Ok(());
    };
    let mapped = mapped(cluster, host, node, *signed.digest());
    let left = leave(&mut tx, &mapped, now).await?;
    let order = take(&mut tx, &mapped, before, now).await?;
    tx.commit().await?;
    for (order, cluster, node) in left {
        attestor.index.drop_node(order, cluster, node);
    }
    attestor.index.put_node(order, mapped);
    tracing::info!(host.id = %host, k8s.node = node.name, "a host proved its node");
    Ok(())
}

/// A mapping of an operator to another host stays whichever node of the name it was made for.
fn claim(held: Option<&MappedNode>, host: &HostId, node: &NodeRef) -> Result<Claim, LinkError> {
    let Some(held) = held else {
        return Ok(Claim::Takes { before: None });
    };
    let is_same_node = held.uid.as_deref() == Some(&*node.uid);
    if held.host == *host {
        return Ok(match is_same_node {
            true => Claim::Stands,
            false => Claim::Takes { before: None },
        });
    }
    match is_same_node || held.token.is_none() {
        true => Err(LinkError::Claimed {
            holder: held.host.clone(),
            node: node.name.clone(),
            cluster: held.cluster.clone(),
        }),
        false => Ok(Claim::Takes {
            before: Some(held.host.clone()),
        }),
    }
}

/// The host is no other node any more by a token, in whichever cluster: the nodes, each with the index of its entry.
async fn leave(
    tx: &mut Tx,
    becomes: &MappedNode,
    now: i64,
) -> Result<Vec<(u64, ClusterName, String)>, StoreError> {
    let mut left = Vec::new();
    for other in tx.nodes_of(&becomes.host).await? {
        let is_it = (&other.cluster, &other.node) == (&becomes.cluster, &becomes.node);
        if other.token.is_none() || is_it {
            continue;
        }
        tx.unmap_node(&other.cluster, &other.node).await?;
        let event = Event::NodeUnmapped {
            cluster: other.cluster.clone(),
            node: other.node.clone(),
            host: other.host,
        };
        let order = audit::append(tx, &event, &Actor::Host, now).await?;
        left.push((order, other.cluster, other.node));
    }
    Ok(left)
}

fn mapped(cluster: &ClusterName, host: &HostId, node: &NodeRef, token: Sha256Digest) -> MappedNode {
    MappedNode {
        cluster: cluster.clone(),
        node: node.name.clone(),
        uid: Some(node.uid.clone()),
        host: host.clone(),
        token: Some(token),
        booted_at: None,
    }
}

/// Returns the index of the entry.
async fn take(
    tx: &mut Tx,
    mapped: &MappedNode,
    before: Option<HostId>,
    now: i64,
) -> Result<u64, StoreError> {
    tx.map_node(mapped).await?;
    let event = Event::NodeMapped {
        cluster: mapped.cluster.clone(),
        node: mapped.node.clone(),
        uid: mapped.uid.clone(),
        host: mapped.host.clone(),
        before,
        by: mapped.token.map(|token| NodeProof::Token { token }),
    };
    audit::append(tx, &event, &Actor::Host, now).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::store::{InventoryEntry, Store};

    fn host(name: &str) -> HostId {
        name.parse().unwrap()
    }

    fn node(name: &str, uid: &str) -> NodeRef {
        NodeRef {
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    fn by_token(name: &str, node: &NodeRef) -> MappedNode {
        mapped(
            &ClusterName::default(),
            &host(name),
            node,
            Sha256Digest::ZERO,
        )
    }

    fn by_operator(name: &str, node: &NodeRef) -> MappedNode {
        MappedNode {
            token: None,
            ..by_token(name, node)
        }
    }

    fn takes(before: Option<&str>) -> Claim {
        Claim::Takes {
            before: before.map(host),
        }
    }

    #[test]
    fn who_is_behind_a_node_stays_and_a_copied_token_gains_nothing() {
        let worker = node("worker-1", "n1");
        assert_eq!(claim(None, &host("de-1"), &worker).unwrap(), takes(None));
        for held in [by_token("de-1", &worker), by_operator("de-1", &worker)] {
            let stands = claim(Some(&held), &host("de-1"), &worker).unwrap();
            assert_eq!(stands, Claim::Stands);
            let claimed = claim(Some(&held), &host("us-1"), &worker).unwrap_err();
            let told = claimed.to_string();
            assert!(
                told.starts_with("host `de-1` stands behind node `worker-1`"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_node_that_was_made_anew_under_its_name_is_taken_by_who_proves_it() {
        let (before, now) = (node("worker-1", "n1"), node("worker-1", "n2"));
        let held = by_token("de-1", &before);
        assert_eq!(
            claim(Some(&held), &host("de-1"), &now).unwrap(),
            takes(None)
        );
        let other = claim(Some(&held), &host("de-2"), &now).unwrap();
        assert_eq!(other, takes(Some("de-1")));
    }

    #[test]
    fn an_operators_mapping_to_another_host_stays_and_one_to_the_same_is_made_certain() {
        let (before, now) = (node("worker-1", "n1"), node("worker-1", "n2"));
        let held = by_operator("de-1", &before);
        assert!(claim(Some(&held), &host("de-2"), &now).is_err());
        let unseen = MappedNode { uid: None, ..held };
        assert!(claim(Some(&unseen), &host("de-2"), &now).is_err());
        assert_eq!(
            claim(Some(&unseen), &host("de-1"), &now).unwrap(),
            takes(None)
        );
    }

    #[tokio::test]
    async fn a_host_is_one_node_by_token_and_any_by_an_operators_word() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let machines = ["de-1", "us-1"].map(|name| InventoryEntry {
            host: host(name),
            ek_digests: vec![Sha256Digest::of(name.as_bytes())],
        });
        assert!(tx.add_inventory(&machines, 6).await.unwrap());
        let [first, second, third] = ["a", "b", "c"].map(|name| node(name, "n1"));
        for held in [
            by_token("de-1", &first),
            by_operator("de-1", &second),
            by_token("us-1", &third),
        ] {
            take(&mut tx, &held, None, 7).await.unwrap();
        }
        let fourth = node("d", "n1");
        // By the name of the node that it becomes, but elsewhere.
        let (here, west) = (ClusterName::default(), "west".parse().unwrap());
        let elsewhere = mapped(&west, &host("de-1"), &node("d", "n9"), Sha256Digest::ZERO);
        take(&mut tx, &elsewhere, None, 7).await.unwrap();
        let token = Sha256Digest::of(b"t.o.k");
        let held = mapped(&here, &host("de-1"), &fourth, token);
        let left = leave(&mut tx, &held, 8).await.unwrap();
        assert_eq!(left, [(4, here, "a".to_owned()), (5, west, "d".to_owned())]);
        take(&mut tx, &held, Some(host("us-9")), 9).await.unwrap();
        let nodes: Vec<_> = tx.nodes().await.unwrap();
        let names: Vec<_> = nodes.iter().map(|held| &*held.node).collect();
        assert_eq!(names, ["b", "c", "d"]);
        assert_eq!(nodes[2], held);
        // An operator's entry says nothing of a token, and this one by what.
        let entries = tx.entries(0).await.unwrap();
        let entry = |at: usize| serde_json::from_slice::<serde_json::Value>(&entries[at]).unwrap();
        assert!(entry(1).get("by").is_none() && entry(1).get("token").is_none());
        assert_eq!(entry(4)["kind"], "node-unmapped");
        assert_eq!(entry(5)["cluster"], "west");
        let taken = entry(6);
        assert_eq!(
            (&taken["by"], &taken["before"]),
            (&"token".into(), &"us-9".into())
        );
        assert_eq!(taken["token"], token.to_string());
        assert_eq!(taken["actor"], "host");
    }
}
