//! Enrolments that wait for their activation.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::log::digest;
use super::nodes::host_id;
use super::{Endorsed, Identity, StoreError, Tx, on};

/// An enrolment between its two messages.
#[derive(Clone, Debug)]
pub(crate) struct PendingEnrolment {
    /// Who the inventory says it is.
    pub(crate) host: HostId,
    /// SHA-256 of the secret that the TPM must give back.
    pub(crate) secret_hash: Sha256Digest,
    /// What will be enrolled.
    pub(crate) identity: Identity,
    /// What vouches for its TPM.
    pub(crate) endorsed: Endorsed,
    /// TLS key of the identity that it would end.
    pub(crate) replaces: Option<Sha256Digest>,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
}

/// Most enrolments of one machine that wait for their activation, beside the newest.
const PENDING_MAX: i64 = 8;

impl Tx {
    /// Keeps an enrolment until its activation, and forgets those that expired, and the machine's oldest beyond
    /// [`PENDING_MAX`].
    pub(crate) async fn add_enrolment(
        &mut self,
        id: &[u8],
        pending: &PendingEnrolment,
        now: i64,
    ) -> Result<(), StoreError> {
        let identity = serde_json::to_string(&pending.identity)
            .map_err(|_| StoreError::Malformed("identity"))?;
        let endorsed = serde_json::to_string(&pending.endorsed)
            .map_err(|_| StoreError::Malformed("endorsement"))?;
        on!(self, connection => {
            sqlx::query("DELETE FROM enrolments WHERE expires_at <= $1")
                .bind(now)
                .execute(&mut *connection)
                .await?;
            sqlx::query("INSERT INTO enrolments (id, host, secret_hash, identity, expires_at, tpm, replaces) VALUES ($1, $2, $3, $4, $5, $6, $7)")
                .bind(id)
                .bind(pending.host.as_str())
                .bind(&pending.secret_hash.0[..])
                .bind(identity)
                .bind(pending.expires_at)
                .bind(endorsed)
                .bind(pending.replaces.as_ref().map(|key| key.0.to_vec()))
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "DELETE FROM enrolments WHERE id IN (
                     SELECT id FROM enrolments WHERE host = $1 AND id <> $2
                     ORDER BY expires_at DESC LIMIT 1000 OFFSET $3)",
            )
            .bind(pending.host.as_str())
            .bind(id)
            .bind(PENDING_MAX)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Takes an enrolment out: it can be answered once, rightly or wrongly.
    pub(crate) async fn take_enrolment(
        &mut self,
        id: &[u8],
    ) -> Result<Option<PendingEnrolment>, StoreError> {
        type Row = (
            String,
            Vec<u8>,
            String,
            i64,
            Option<String>,
            Option<Vec<u8>>,
        );
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "DELETE FROM enrolments WHERE id = $1
                 RETURNING host, secret_hash, identity, expires_at, tpm, replaces",
            )
            .bind(id)
            .fetch_optional(connection)
            .await?
        });
        let Some((host, secret_hash, identity, expires_at, endorsed, replaces)) = row else {
            return Ok(None);
        };
        // One that an older version began: it is begun again.
        let Some(endorsed) = endorsed else {
            return Ok(None);
        };
        Ok(Some(PendingEnrolment {
            host: host_id(&host)?,
            secret_hash: digest(&secret_hash)?,
            identity: serde_json::from_str(&identity)
                .map_err(|_| StoreError::Malformed("identity"))?,
            replaces: replaces.as_deref().map(digest).transpose()?,
            endorsed: serde_json::from_str(&endorsed)
                .map_err(|_| StoreError::Malformed("endorsement"))?,
            expires_at,
        }))
    }
}
