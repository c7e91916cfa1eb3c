//! Webhook configurations in clusters, as they were seen last.

use touchstone_kubernetes::cluster_name::ClusterName;

use super::{StoreError, Tx, on};

impl Tx {
    /// How the configurations of this name were seen last in `cluster`, as that was kept.
    pub(crate) async fn webhooks_seen(
        &mut self,
        cluster: &ClusterName,
        name: &str,
    ) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT seen FROM webhooks WHERE cluster = $1 AND name = $2")
                .bind(cluster.as_str())
                .bind(name)
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(seen,)| seen))
    }

    /// Keeps how they were seen, in place of what was kept.
    pub(crate) async fn keep_webhooks_seen(
        &mut self,
        cluster: &ClusterName,
        name: &str,
        seen: &str,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO webhooks (cluster, name, seen) VALUES ($1, $2, $3)
                 ON CONFLICT (cluster, name) DO UPDATE SET seen = excluded.seen",
            )
            .bind(cluster.as_str())
            .bind(name)
            .bind(seen)
            .execute(connection)
            .await?;
        });
        Ok(())
    }
}
