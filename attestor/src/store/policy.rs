//! Versions of the policy manifests; the highest is in force.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::cluster_name::ClusterName;

use super::log::digest;
use super::nodes::cluster_name;
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

    /// Digest of the version in force.
    pub(crate) async fn policy_digest(&mut self) -> Result<Option<Sha256Digest>, StoreError> {
        let row: Option<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT digest FROM policies ORDER BY version DESC LIMIT 1")
                .fetch_optional(connection)
                .await?
        });
        row.map(|(bytes,)| digest(&bytes)).transpose()
    }

    /// The cluster whose objects the version in force is. `None`: it was applied, or there is none.
    pub(crate) async fn policy_source(&mut self) -> Result<Option<ClusterName>, StoreError> {
        let row: Option<(Option<String>,)> = on!(self, connection => {
            sqlx::query_as("SELECT cluster FROM policies ORDER BY version DESC LIMIT 1")
                .fetch_optional(connection)
                .await?
        });
        let cluster = row.and_then(|(cluster,)| cluster);
        cluster.as_deref().map(cluster_name).transpose()
    }

    /// One version, in force or not.
    pub(crate) async fn policy_version(
        &mut self,
        version: i64,
    ) -> Result<Option<StoredPolicy>, StoreError> {
        let row: Option<(i64, String)> = on!(self, connection => {
            sqlx::query_as("SELECT version, manifests FROM policies WHERE version = $1")
                .bind(version)
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(version, manifests)| StoredPolicy { version, manifests }))
    }

    /// Version, digest and time of all that were ever in force, the newest first.
    pub(crate) async fn policy_versions(
        &mut self,
    ) -> Result<Vec<(i64, Sha256Digest, i64)>, StoreError> {
        let rows: Vec<(i64, Vec<u8>, i64)> = on!(self, connection => {
            sqlx::query_as("SELECT version, digest, applied_at FROM policies ORDER BY version DESC")
                .fetch_all(connection)
                .await?
        });
        let version =
            |(version, bytes, at): (i64, Vec<u8>, i64)| Ok((version, digest(&bytes)?, at));
        rows.into_iter().map(version).collect()
    }

    /// Adds the next version and returns its number. `cluster`: whose objects it is.
    pub(crate) async fn add_policy(
        &mut self,
        digest: &[u8; 32],
        manifests: &str,
        cluster: Option<&ClusterName>,
        now: i64,
    ) -> Result<i64, StoreError> {
        let version = self
            .policy()
            .await?
            .map_or(1, |last| last.version.saturating_add(1));
        on!(self, connection => {
            sqlx::query("INSERT INTO policies (version, digest, manifests, cluster, applied_at) VALUES ($1, $2, $3, $4, $5)")
                .bind(version)
                .bind(&digest[..])
                .bind(manifests)
                .bind(cluster.map(ClusterName::as_str))
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(version)
    }
}
