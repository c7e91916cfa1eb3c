//! Versions of the policy manifests; the highest is in force.

use super::{StoreError, Tx, on};

/// The manifests in force.
#[derive(Clone, Debug)]
pub(crate) struct StoredPolicy {
    /// Rises by one.
    pub(crate) version: i64,
    /// The text as it was applied.
    pub(crate) manifests: String,
}

impl Tx {
    /// The version in force.
    pub(crate) async fn policy(&mut self) -> Result<Option<StoredPolicy>, StoreError> {
        let row: Option<(i64, String)> = on!(self, connection => {
            sqlx::query_as("SELECT version, manifests FROM policies ORDER BY version DESC LIMIT 1")
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(version, manifests)| StoredPolicy { version, manifests }))
    }

    /// Adds the next version and returns its number.
    pub(crate) async fn add_policy(
        &mut self,
        digest: &[u8; 32],
        manifests: &str,
        now: i64,
    ) -> Result<i64, StoreError> {
        let version = self
            .policy()
            .await?
            .map_or(1, |last| last.version.saturating_add(1));
        on!(self, connection => {
            sqlx::query("INSERT INTO policies (version, digest, manifests, applied_at) VALUES ($1, $2, $3, $4)")
                .bind(version)
                .bind(&digest[..])
                .bind(manifests)
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(version)
    }
}
