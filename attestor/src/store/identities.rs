//! What surrounds the enrolled identities: those that ended, and doors that operators opened.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::nodes::host_id;
use super::{HostRecord, Identity, StoreError, Tx, on};

/// Why an identity ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The host was taken out of service.
    Retired,
    /// The machine was taken out of the inventory.
    Removed,
    /// The host got another TPM.
    Replaced,
    /// The host enrolled anew with other keys.
    Reenrolled,
}

impl End {
    const ALL: [Self; 4] = [
        Self::Retired,
        Self::Removed,
        Self::Replaced,
        Self::Reenrolled,
    ];

    /// Stable code: of the finding, of the refusal, and in the database.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Retired => "host-retired",
            Self::Removed => "host-removed",
            Self::Replaced => "host-replaced",
            Self::Reenrolled => "host-reenrolled",
        }
    }

    fn of(code: &str) -> Result<Self, StoreError> {
        let mut all = Self::ALL.into_iter();
        all.find(|end| end.code() == code)
            .ok_or(StoreError::Malformed("end of an identity"))
    }
}

/// What holds one of the keys of an identity already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyHolder {
    /// The AK is that of this enrolled host.
    Ak(HostId),
    /// The TLS key is that of this enrolled host.
    TlsKey(HostId),
    /// AK or TLS key were those of an identity that ended.
    Former(HostId),
}

impl Tx {
    /// Ends the live identity of `record`'s host: its keys are remembered, and nothing verifies for it.
    /// Keys that are remembered already, as earlier versions could leave them, are no reason to let it live.
    pub(crate) async fn end_identity(
        &mut self,
        record: &HostRecord,
        end: End,
        now: i64,
    ) -> Result<(), StoreError> {
        let identity = &record.identity;
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO former_identities (tls_key, host, ek_digest, ak_public, enrolled_at, ended_at, ended_by)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            )
            .bind(&identity.tls_key.0[..])
            .bind(record.host.as_str())
            .bind(&identity.ek_digest.0[..])
            .bind(&identity.ak_public.0)
            .bind(record.enrolled_at)
            .bind(now)
            .bind(end.code())
            .execute(&mut *connection)
            .await?;
            sqlx::query("DELETE FROM hosts WHERE host = $1")
                .bind(record.host.as_str())
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Takes back what rested on a host's identity: its tag, its nodes, its challenges, its leases, what was
    /// known of its boot, its open door.
    pub(crate) async fn void_what_rests_on(
        &mut self,
        host: &HostId,
        now: i64,
    ) -> Result<(), StoreError> {
        self.end_tag(host, "identity-ended", now).await?;
        on!(self, connection => {
            for statement in [
                "UPDATE location_tags SET void = 1 WHERE host = $1",
                "DELETE FROM nodes WHERE host = $1",
                "DELETE FROM answers WHERE id IN (SELECT answered FROM challenges WHERE host = $1)",
                "DELETE FROM challenges WHERE host = $1",
                "DELETE FROM boots WHERE host = $1",
                "UPDATE leases SET void = 1 WHERE host = $1",
                "DELETE FROM reenrolments WHERE host = $1",
            ] {
                sqlx::query(statement)
                    .bind(host.as_str())
                    .execute(&mut *connection)
                    .await?;
            }
        });
        Ok(())
    }

    /// Forgets the enrolments of `host` that wait for their activation.
    pub(crate) async fn forget_enrolments(&mut self, host: &HostId) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("DELETE FROM enrolments WHERE host = $1")
                .bind(host.as_str())
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Forgets the enrolments of all hosts that wait for their activation: they begin again.
    pub(crate) async fn forget_all_enrolments(&mut self) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("DELETE FROM enrolments").execute(connection).await?;
        });
        Ok(())
    }

    /// How the identity with this TLS key ended, if it did.
    pub(crate) async fn end_of(
        &mut self,
        tls_key: &Sha256Digest,
    ) -> Result<Option<End>, StoreError> {
        let row: Option<(String,)> = on!(self, connection => {
            sqlx::query_as("SELECT ended_by FROM former_identities WHERE tls_key = $1")
                .bind(&tls_key.0[..])
                .fetch_optional(connection)
                .await?
        });
        row.map(|(code,)| End::of(&code)).transpose()
    }

    /// Who holds a key of `identity`, beside `host` itself.
    pub(crate) async fn holder_of_keys(
        &mut self,
        host: &HostId,
        identity: &Identity,
    ) -> Result<Option<KeyHolder>, StoreError> {
        let (ak, tls): (&[u8], &[u8]) = (&identity.ak_public.0, &identity.tls_key.0);
        let (by_ak, by_tls_key, former): (Option<String>, Option<String>, Option<String>) = on!(self, connection => {
            sqlx::query_as(
                "SELECT (SELECT host FROM hosts WHERE ak_public = $1 AND host <> $3),
                     (SELECT host FROM hosts WHERE tls_key = $2 AND host <> $3),
                     (SELECT MIN(host) FROM former_identities WHERE ak_public = $1 OR tls_key = $2)",
            )
            .bind(ak)
            .bind(tls)
            .bind(host.as_str())
            .fetch_one(connection)
            .await?
        });
        Ok(match (by_ak, by_tls_key, former) {
            (Some(host), _, _) => Some(KeyHolder::Ak(host_id(&host)?)),
            (_, Some(host), _) => Some(KeyHolder::TlsKey(host_id(&host)?)),
            (_, _, Some(host)) => Some(KeyHolder::Former(host_id(&host)?)),
            (None, None, None) => None,
        })
    }

    /// Lets `host` enrol once with other keys until `expires_at`.
    pub(crate) async fn open_reenrolment(
        &mut self,
        host: &HostId,
        expires_at: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO reenrolments (host, expires_at) VALUES ($1, $2)
                 ON CONFLICT (host) DO UPDATE SET expires_at = excluded.expires_at",
            )
            .bind(host.as_str())
            .bind(expires_at)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Until when each host that may enrol with other keys may do so.
    pub(crate) async fn open_reenrolments(
        &mut self,
        now: i64,
    ) -> Result<Vec<(HostId, i64)>, StoreError> {
        let rows: Vec<(String, i64)> = on!(self, connection => {
            sqlx::query_as("SELECT host, expires_at FROM reenrolments WHERE expires_at > $1")
                .bind(now)
                .fetch_all(connection)
                .await?
        });
        rows.into_iter()
            .map(|(host, expires_at)| Ok((host_id(&host)?, expires_at)))
            .collect()
    }

    /// Until when `host` may enrol with other keys.
    pub(crate) async fn open_reenrolment_of(
        &mut self,
        host: &HostId,
        now: i64,
    ) -> Result<Option<i64>, StoreError> {
        let row: Option<(i64,)> = on!(self, connection => {
            sqlx::query_as("SELECT expires_at FROM reenrolments WHERE host = $1 AND expires_at > $2")
                .bind(host.as_str())
                .bind(now)
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(expires_at,)| expires_at))
    }

    /// How often `host` enrolled anew under the same TPM.
    pub(crate) async fn reenrolled_count(&mut self, host: &HostId) -> Result<i64, StoreError> {
        let (count,): (i64,) = on!(self, connection => {
            sqlx::query_as("SELECT COUNT(*) FROM former_identities WHERE host = $1 AND ended_by = $2")
                .bind(host.as_str())
                .bind(End::Reenrolled.code())
                .fetch_one(connection)
                .await?
        });
        Ok(count)
    }

    /// How often each host enrolled anew under the same TPM.
    pub(crate) async fn reenrolled_counts(&mut self) -> Result<Vec<(HostId, i64)>, StoreError> {
        let rows: Vec<(String, i64)> = on!(self, connection => {
            sqlx::query_as("SELECT host, COUNT(*) FROM former_identities WHERE ended_by = $1 GROUP BY host")
                .bind(End::Reenrolled.code())
                .fetch_all(connection)
                .await?
        });
        rows.into_iter()
            .map(|(host, count)| Ok((host_id(&host)?, count)))
            .collect()
    }
}
