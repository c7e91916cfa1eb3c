//! Join tokens, and enrolments that wait for their activation.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::inventory::host_id;
use super::log::digest;
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
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
}

impl Tx {
    /// Keeps the hash of a join token's secret.
    pub(crate) async fn add_join_token(
        &mut self,
        hash: &Sha256Digest,
        expires_at: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("INSERT INTO join_tokens (hash, expires_at) VALUES ($1, $2)")
                .bind(&hash.0[..])
                .bind(expires_at)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Whether a join token with this hash is in force at `now`.
    pub(crate) async fn join_token_in_force(
        &mut self,
        hash: &Sha256Digest,
        now: i64,
    ) -> Result<bool, StoreError> {
        let row: Option<(i64,)> = on!(self, connection => {
            sqlx::query_as("SELECT expires_at FROM join_tokens WHERE hash = $1 AND expires_at > $2")
                .bind(&hash.0[..])
                .bind(now)
                .fetch_optional(connection)
                .await?
        });
        Ok(row.is_some())
    }

    /// Keeps an enrolment until its activation, and forgets those that expired.
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
            sqlx::query("INSERT INTO enrolments (id, host, secret_hash, identity, expires_at, tpm) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(id)
                .bind(pending.host.as_str())
                .bind(&pending.secret_hash.0[..])
                .bind(identity)
                .bind(pending.expires_at)
                .bind(endorsed)
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
        type Row = (String, Vec<u8>, String, i64, Option<String>);
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "DELETE FROM enrolments WHERE id = $1
                 RETURNING host, secret_hash, identity, expires_at, tpm",
            )
            .bind(id)
            .fetch_optional(connection)
            .await?
        });
        let Some((host, secret_hash, identity, expires_at, endorsed)) = row else {
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
            endorsed: serde_json::from_str(&endorsed)
                .map_err(|_| StoreError::Malformed("endorsement"))?,
            expires_at,
        }))
    }
}
