//! Revoked leases that a host has to be told of, until it says that it purged what they opened.

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::wire::RevokedLease;

use super::MALFORMED;
use crate::store::log::digest;
use crate::store::{StoreError, Tx, on};

/// Hosts that are marked in one transaction, for which other writers wait.
const HOSTS_AT_ONCE: i64 = 500;

#[derive(Serialize)]
struct RevokedJson<'a> {
    name: &'a str,
    version: u32,
    layer: Sha256Digest,
}

impl Tx {
    /// Revoked leases of `host` that it has not purged yet; at most `most`.
    pub(crate) async fn leases_to_tell(
        &mut self,
        host: &HostId,
        most: i64,
    ) -> Result<Vec<RevokedLease>, StoreError> {
        let rows: Vec<(String, i64, Vec<u8>)> = on!(self, connection => {
            sqlx::query_as(concat!(
                "SELECT l.name, l.version, l.layer FROM leases AS l
                 WHERE l.host = $1 AND l.purged_at IS NULL AND ",
                revoked!(),
                " ORDER BY l.name, l.version, l.layer LIMIT $2"
            ))
            .bind(host.as_str())
            .bind(most)
            .fetch_all(connection)
            .await?
        });
        let leases = rows.into_iter().map(|(name, version, layer)| {
            Ok(RevokedLease {
                key: name.parse().map_err(|_| MALFORMED)?,
                key_version: u32::try_from(version).map_err(|_| MALFORMED)?,
                layer: OciDigest(digest(&layer)?),
            })
        });
        leases.collect()
    }

    /// Has the next round of `host` look for revoked leases.
    pub(crate) async fn mark_leases_to_tell(&mut self, host: &HostId) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE hosts SET leases_to_tell = 1 WHERE host = $1")
                .bind(host.as_str())
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// The same for hosts with leases of keys that are not active; `false`: there is no further one.
    pub(crate) async fn mark_leases_of_inactive_keys(&mut self) -> Result<bool, StoreError> {
        let marked = on!(self, connection => {
            sqlx::query(
                "UPDATE hosts SET leases_to_tell = 1 WHERE host IN (
                     SELECT DISTINCT l.host FROM layer_keys AS k
                     JOIN leases AS l ON l.name = k.name AND l.purged_at IS NULL AND l.void = 0
                     JOIN hosts AS h ON h.host = l.host AND h.leases_to_tell = 0
                     WHERE k.state <> 'active' LIMIT $1)",
            )
            .bind(HOSTS_AT_ONCE)
            .execute(connection)
            .await?
            .rows_affected()
        });
        Ok(marked > 0)
    }

    /// Has rounds of `host` look no more, if there is nothing to tell.
    pub(crate) async fn settle_leases_to_tell(&mut self, host: &HostId) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(concat!(
                "UPDATE hosts SET leases_to_tell = 0 WHERE host = $1 AND NOT EXISTS (
                     SELECT 1 FROM leases AS l WHERE l.host = $1 AND l.purged_at IS NULL AND ",
                revoked!(),
                ")"
            ))
            .bind(host.as_str())
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Keeps that `host` purged what these leases opened, of those that are revoked.
    pub(crate) async fn mark_leases_purged(
        &mut self,
        host: &HostId,
        leases: &[RevokedLease],
        now: i64,
    ) -> Result<(), StoreError> {
        let rows = leases.iter().map(|lease| RevokedJson {
            name: lease.key.as_str(),
            version: lease.key_version,
            layer: lease.layer.0,
        });
        let list = serde_json::to_string(&rows.collect::<Vec<_>>()).map_err(|_| MALFORMED)?;
        on!(self, connection => {
            sqlx::query(concat!(
                "UPDATE leases AS l SET purged_at = $3 WHERE l.host = $1 AND l.purged_at IS NULL
                     AND EXISTS (SELECT 1 FROM json_each($2) AS j WHERE j.value ->> 'name' = l.name
                         AND CAST(j.value ->> 'version' AS BIGINT) = l.version
                         AND unhex(j.value ->> 'layer') = l.layer)
                     AND ",
                revoked!()
            ))
            .bind(host.as_str())
            .bind(list)
            .bind(now)
            .execute(connection)
            .await?;
        });
        Ok(())
    }
}
