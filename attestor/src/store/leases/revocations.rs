//! Which hosts may not have which keys.

use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::host_id::HostId;

use super::{MALFORMED, name_of};
use crate::store::nodes::host_id;
use crate::store::{StoreError, Tx, on};

/// That a host may not have a key.
#[derive(Clone, Debug)]
pub(crate) struct Revocation {
    pub(crate) host: HostId,
    /// `None`: any key.
    pub(crate) key: Option<KeyName>,
    pub(crate) revoked_at: i64,
}

impl Tx {
    /// Keeps that `host` may not have `key`, or any. `false`: it was so before.
    pub(crate) async fn add_revocation(
        &mut self,
        host: &HostId,
        key: Option<&KeyName>,
        now: i64,
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query(
                "INSERT INTO lease_revocations (host, name, revoked_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(host.as_str())
            .bind(name_of(key))
            .bind(now)
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Ends that `host` may not have `key`; without a key, all of its revocations. `false`: there was none.
    pub(crate) async fn drop_revocations(
        &mut self,
        host: &HostId,
        key: Option<&KeyName>,
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query("DELETE FROM lease_revocations WHERE host = $1 AND (name = $2 OR $2 = '')")
                .bind(host.as_str())
                .bind(name_of(key))
                .execute(connection)
                .await?
                .rows_affected()
        }) > 0)
    }

    /// Which hosts may not have which keys: all of them, or those of `host`.
    pub(crate) async fn revocations(
        &mut self,
        host: Option<&HostId>,
    ) -> Result<Vec<Revocation>, StoreError> {
        let rows: Vec<(String, String, i64)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT host, name, revoked_at FROM lease_revocations WHERE host = $1 OR $1 = '' ORDER BY host, name",
            )
            .bind(host.map_or("", HostId::as_str))
            .fetch_all(connection)
            .await?
        });
        let revocations = rows.into_iter().map(|(host, name, revoked_at)| {
            let key = (!name.is_empty()).then(|| name.parse()).transpose();
            Ok(Revocation {
                host: host_id(&host)?,
                key: key.map_err(|_| MALFORMED)?,
                revoked_at,
            })
        });
        revocations.collect()
    }
}
