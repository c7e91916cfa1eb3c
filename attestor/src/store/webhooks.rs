//! Webhook configurations in the cluster, as they were seen last.

use super::{StoreError, Tx, on};

impl Tx {
    /// How the configurations of this name were seen last, as that was kept.
    pub(crate) async fn webhooks_seen(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT seen FROM webhooks WHERE name = $1")
                .bind(name)
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(seen,)| seen))
    }

    /// Keeps how they were seen, in place of what was kept.
    pub(crate) async fn keep_webhooks_seen(
        &mut self,
        name: &str,
        seen: &str,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO webhooks (name, seen) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET seen = excluded.seen",
            )
            .bind(name)
            .bind(seen)
            .execute(connection)
            .await?;
        });
        Ok(())
    }
}
