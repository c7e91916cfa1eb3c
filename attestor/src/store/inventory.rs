//! What operators declare: nodes, and their own tokens.

use touchstone_evidence::host_id::HostId;

use super::{StoreError, Tx, on};

impl Tx {
    /// Says that `host` stands behind the Kubernetes node `node`, instead of what was said before.
    pub(crate) async fn map_node(&mut self, node: &str, host: &HostId) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO nodes (node, host) VALUES ($1, $2)
                 ON CONFLICT (node) DO UPDATE SET host = excluded.host",
            )
            .bind(node)
            .bind(host.as_str())
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Says that no host stands behind `node`.
    pub(crate) async fn unmap_node(&mut self, node: &str) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("DELETE FROM nodes WHERE node = $1")
                .bind(node)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Every node with its host, by name.
    pub(crate) async fn nodes(&mut self) -> Result<Vec<(String, HostId)>, StoreError> {
        let rows: Vec<(String, String)> = on!(self, connection => {
            sqlx::query_as("SELECT node, host FROM nodes ORDER BY node")
                .fetch_all(connection)
                .await?
        });
        rows.into_iter()
            .map(|(node, host)| Ok((node, host_id(&host)?)))
            .collect()
    }

    /// The nodes behind which `host` stands.
    pub(crate) async fn nodes_of(&mut self, host: &HostId) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT node FROM nodes WHERE host = $1 ORDER BY node")
                .bind(host.as_str())
                .fetch_all(connection)
                .await?
        });
        Ok(rows.into_iter().map(|(node,)| node).collect())
    }

    /// The host behind a node.
    pub(crate) async fn host_of_node(&mut self, node: &str) -> Result<Option<HostId>, StoreError> {
        let row: Option<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT host FROM nodes WHERE node = $1")
                .bind(node)
                .fetch_optional(connection)
                .await?
        });
        row.map(|(host,)| host_id(&host)).transpose()
    }
}

pub(super) fn host_id(text: &str) -> Result<HostId, StoreError> {
    text.parse().map_err(|_| StoreError::Malformed("host name"))
}
