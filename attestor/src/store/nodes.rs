//! Kubernetes nodes, and which host stands behind each.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::cluster_name::ClusterName;

use super::log::digest;
use super::{StoreError, Tx, on};

/// A node that a host stands behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MappedNode {
    pub(crate) cluster: ClusterName,
    pub(crate) node: String,
    /// Which one of that name; `None`: it was mapped by an attestor that saw no cluster.
    pub(crate) uid: Option<String>,
    pub(crate) host: HostId,
    /// SHA-256 of the service account token that showed it; `None`: an operator said so.
    pub(crate) token: Option<Sha256Digest>,
    /// Since when it is in another boot than before, seconds since 1970; `None`: it is in the one that was seen first.
    pub(crate) booted_at: Option<i64>,
}

/// The boot of a node that was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeBoot {
    pub(crate) cluster: ClusterName,
    pub(crate) node: String,
    /// Which one of that name.
    pub(crate) uid: String,
    /// As its kubelet calls it.
    pub(crate) boot: String,
    /// As [`MappedNode::booted_at`].
    pub(crate) booted_at: Option<i64>,
}

/// Boots of a node that no entry tells of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UntoldBoots {
    /// The one that the last entry told.
    pub(crate) told: String,
    /// How many came since.
    pub(crate) count: u64,
}

type Row = (
    String,
    String,
    Option<String>,
    String,
    Option<Vec<u8>>,
    Option<i64>,
);

impl MappedNode {
    fn read((cluster, node, uid, host, token, booted_at): Row) -> Result<Self, StoreError> {
        let token = token.as_deref().map(digest).transpose()?;
        let host = host_id(&host)?;
        Ok(Self {
            cluster: cluster_name(&cluster)?,
            node,
            uid,
            host,
            token,
            booted_at,
        })
    }
}

impl Tx {
    /// Says that a host stands behind a node, instead of what was said before. What boots were seen of another node of
    /// the name is forgotten.
    pub(crate) async fn map_node(&mut self, mapped: &MappedNode) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO nodes (cluster, node, uid, host, token) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (cluster, node) DO UPDATE SET uid = excluded.uid, host = excluded.host, token = excluded.token,
                     boot = CASE WHEN nodes.uid = excluded.uid THEN nodes.boot END,
                     booted_at = CASE WHEN nodes.uid = excluded.uid THEN nodes.booted_at END,
                     told_boot = CASE WHEN nodes.uid = excluded.uid THEN nodes.told_boot END,
                     untold_boots = CASE WHEN nodes.uid = excluded.uid THEN nodes.untold_boots END",
            )
            .bind(mapped.cluster.as_str())
            .bind(mapped.node.as_str())
            .bind(mapped.uid.as_deref())
            .bind(mapped.host.as_str())
            .bind(mapped.token.as_ref().map(|token| &token.0[..]))
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Says which boot a node that is mapped is in, and what no entry tells of it. `false`: it is mapped no more, or another
    /// one is.
    pub(crate) async fn set_node_boot(
        &mut self,
        seen: &NodeBoot,
        untold: Option<&UntoldBoots>,
    ) -> Result<bool, StoreError> {
        let count = untold.map(|untold| i64::try_from(untold.count).unwrap_or(i64::MAX));
        let set = on!(self, connection => {
            sqlx::query(
                "UPDATE nodes SET boot = $4, booted_at = $5, told_boot = $6, untold_boots = $7
                 WHERE cluster = $1 AND node = $2 AND uid = $3",
            )
            .bind(seen.cluster.as_str())
            .bind(seen.node.as_str())
            .bind(seen.uid.as_str())
            .bind(seen.boot.as_str())
            .bind(seen.booted_at)
            .bind(untold.map(|untold| untold.told.as_str()))
            .bind(count)
            .execute(connection)
            .await?
            .rows_affected()
        });
        Ok(set == 1)
    }

    /// Every boot that was seen of nodes of a cluster that are mapped, each with what no entry tells of it.
    pub(crate) async fn node_boots(
        &mut self,
        cluster: &ClusterName,
    ) -> Result<Vec<(NodeBoot, Option<UntoldBoots>)>, StoreError> {
        type Row = (
            String,
            String,
            String,
            Option<i64>,
            Option<String>,
            Option<i64>,
        );
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT node, uid, boot, booted_at, told_boot, untold_boots FROM nodes
                 WHERE cluster = $1 AND uid IS NOT NULL AND boot IS NOT NULL",
            )
            .bind(cluster.as_str())
            .fetch_all(connection)
            .await?
        });
        let boot = |(node, uid, boot, booted_at, told, count): Row| {
            let count = count.and_then(|count| u64::try_from(count).ok());
            let untold = told.zip(count);
            let boot = NodeBoot {
                cluster: cluster.clone(),
                node,
                uid,
                boot,
                booted_at,
            };
            (
                boot,
                untold.map(|(told, count)| UntoldBoots { told, count }),
            )
        };
        Ok(rows.into_iter().map(boot).collect())
    }

    /// Says that no host stands behind the node of this name in `cluster`.
    pub(crate) async fn unmap_node(
        &mut self,
        cluster: &ClusterName,
        node: &str,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("DELETE FROM nodes WHERE cluster = $1 AND node = $2")
                .bind(cluster.as_str())
                .bind(node)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Every node of every cluster with its host, by cluster and name.
    pub(crate) async fn nodes(&mut self) -> Result<Vec<MappedNode>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as("SELECT cluster, node, uid, host, token, booted_at FROM nodes ORDER BY cluster, node")
                .fetch_all(connection)
                .await?
        });
        rows.into_iter().map(MappedNode::read).collect()
    }

    /// The nodes behind which `host` stands, in whichever cluster.
    pub(crate) async fn nodes_of(&mut self, host: &HostId) -> Result<Vec<MappedNode>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT cluster, node, uid, host, token, booted_at FROM nodes WHERE host = $1 ORDER BY cluster, node",
            )
                .bind(host.as_str())
                .fetch_all(connection)
                .await?
        });
        rows.into_iter().map(MappedNode::read).collect()
    }

    /// The node of this name in `cluster`, if a host stands behind it.
    pub(crate) async fn mapped_node(
        &mut self,
        cluster: &ClusterName,
        node: &str,
    ) -> Result<Option<MappedNode>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT cluster, node, uid, host, token, booted_at FROM nodes WHERE cluster = $1 AND node = $2",
            )
                .bind(cluster.as_str())
                .bind(node)
                .fetch_optional(connection)
                .await?
        });
        row.map(MappedNode::read).transpose()
    }
}

pub(super) fn cluster_name(text: &str) -> Result<ClusterName, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Malformed("name of a cluster"))
}

pub(super) fn host_id(text: &str) -> Result<HostId, StoreError> {
    text.parse().map_err(|_| StoreError::Malformed("host name"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use touchstone_evidence::digest::Sha256Digest;

    use super::*;
    use crate::store::{InventoryEntry, Store};

    #[tokio::test]
    async fn whichever_host_a_node_is_mapped_to_its_reboot_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let machines = ["de-1", "de-2"].map(|name| InventoryEntry {
            host: name.parse().unwrap(),
            ek_digests: vec![Sha256Digest::of(name.as_bytes())],
        });
        assert!(tx.add_inventory(&machines, 6).await.unwrap());
        let mapped = |uid: &str, host: &str| MappedNode {
            cluster: ClusterName::default(),
            node: "a".to_owned(),
            uid: Some(uid.to_owned()),
            host: host.parse().unwrap(),
            token: None,
            booted_at: None,
        };
        let boot = NodeBoot {
            cluster: ClusterName::default(),
            node: "a".to_owned(),
            uid: "u1".to_owned(),
            boot: "b".to_owned(),
            booted_at: Some(7),
        };
        let untold = UntoldBoots {
            told: "a".to_owned(),
            count: 1,
        };
        for (then, kept) in [
            (mapped("u1", "de-1"), true),
            (mapped("u2", "de-1"), false),
            (mapped("u1", "de-2"), true),
        ] {
            tx.map_node(&mapped("u1", "de-1")).await.unwrap();
            let set = tx.set_node_boot(&boot, Some(&untold)).await;
            assert!(set.unwrap());
            tx.map_node(&then).await.unwrap();
            let held = tx.node_boots(&ClusterName::default()).await.unwrap();
            let expected = kept.then(|| (boot.clone(), Some(untold.clone())));
            assert_eq!(held, Vec::from_iter(expected), "{then:?}");
            let booted_at = kept.then_some(7);
            let held = tx.nodes().await.unwrap();
            assert_eq!(held, [MappedNode { booted_at, ..then }]);
        }
    }
}
