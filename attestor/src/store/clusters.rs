//! Which cluster a name is of.

use touchstone_kubernetes::cluster_name::ClusterName;

use super::{StoreError, Tx, on};

impl Tx {
    /// The uid of the cluster that `name` was bound to; `None`: nobody spoke to one under it yet.
    pub(crate) async fn cluster_uid(
        &mut self,
        name: &ClusterName,
    ) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT uid FROM clusters WHERE name = $1")
                .bind(name.as_str())
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(uid,)| uid))
    }

    /// Binds `name`, which must be bound to none, to the cluster with this uid.
    pub(crate) async fn bind_cluster(
        &mut self,
        name: &ClusterName,
        uid: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("INSERT INTO clusters (name, uid, bound_at) VALUES ($1, $2, $3)")
                .bind(name.as_str())
                .bind(uid)
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }
}
