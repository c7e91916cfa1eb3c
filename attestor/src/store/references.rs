//! Reference values that were captured and are not in force yet.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::log::digest;
use super::nodes::host_id;
use super::{StoreError, Tx, on};

/// Values that wait for an officer.
#[derive(Clone, Debug)]
pub(crate) struct PendingReference {
    /// Name of the manifest.
    pub(crate) name: String,
    /// The manifest, YAML.
    pub(crate) manifest: String,
    /// Whose boot it was.
    pub(crate) host: HostId,
    /// SHA-256 of the evidence that proved it.
    pub(crate) evidence: Sha256Digest,
    /// Seconds since 1970.
    pub(crate) captured_at: i64,
}

type Row = (String, String, String, Vec<u8>, i64);

fn pending(row: Row) -> Result<PendingReference, StoreError> {
    let (name, manifest, host, evidence, captured_at) = row;
    Ok(PendingReference {
        name,
        manifest,
        host: host_id(&host)?,
        evidence: digest(&evidence)?,
        captured_at,
    })
}

impl Tx {
    /// Keeps pending values, instead of those of the same name.
    pub(crate) async fn put_reference(
        &mut self,
        pending: &PendingReference,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO pending_references (name, manifest, host, evidence, captured_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (name) DO UPDATE SET manifest = excluded.manifest, host = excluded.host,
                     evidence = excluded.evidence, captured_at = excluded.captured_at",
            )
            .bind(&pending.name)
            .bind(&pending.manifest)
            .bind(pending.host.as_str())
            .bind(&pending.evidence.0[..])
            .bind(pending.captured_at)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// All that wait, by name.
    pub(crate) async fn references(&mut self) -> Result<Vec<PendingReference>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as("SELECT name, manifest, host, evidence, captured_at FROM pending_references ORDER BY name")
                .fetch_all(connection)
                .await?
        });
        rows.into_iter().map(pending).collect()
    }

    /// The pending values of this name.
    pub(crate) async fn reference(
        &mut self,
        name: &str,
    ) -> Result<Option<PendingReference>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as("SELECT name, manifest, host, evidence, captured_at FROM pending_references WHERE name = $1")
                .bind(name)
                .fetch_optional(connection)
                .await?
        });
        row.map(pending).transpose()
    }

    /// Forgets pending values; others that were captured under the same name meanwhile stay.
    pub(crate) async fn drop_reference(
        &mut self,
        pending: &PendingReference,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("DELETE FROM pending_references WHERE name = $1 AND manifest = $2")
                .bind(&pending.name)
                .bind(&pending.manifest)
                .execute(connection)
                .await?;
        });
        Ok(())
    }
}
