//! Join tokens, by the hashes of their secrets.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::log::digest;
use super::nodes::host_id;
use super::{StoreError, Tx, on};

/// Seconds for which tokens are still listed after their end.
const LISTED_SECONDS: i64 = 30 * 24 * 3600;

/// A join token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinTokenRecord {
    /// SHA-256 of its secret.
    pub(crate) hash: Sha256Digest,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
    /// The only machine that may enrol with it; `None`: any of the inventory.
    pub(crate) host: Option<HostId>,
    /// How many enrolments it is good for; `None`: any number.
    pub(crate) uses_max: Option<i64>,
    /// How many it has seen.
    pub(crate) uses: i64,
    /// Seconds since 1970.
    pub(crate) revoked_at: Option<i64>,
}

impl JoinTokenRecord {
    /// How it is called: the first digits of the hash, which tell nothing about the secret.
    pub(crate) fn id(&self) -> String {
        self.hash.to_string().chars().take(16).collect()
    }
}

type Row = (Vec<u8>, i64, Option<String>, Option<i64>, i64, Option<i64>);

impl Tx {
    /// Keeps a new join token, and forgets those that ended long ago.
    pub(crate) async fn add_join_token(
        &mut self,
        token: &JoinTokenRecord,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("DELETE FROM join_tokens WHERE expires_at < $1")
                .bind(now.saturating_sub(LISTED_SECONDS))
                .execute(&mut *connection)
                .await?;
            sqlx::query("INSERT INTO join_tokens (hash, expires_at, host, uses_max) VALUES ($1, $2, $3, $4)")
                .bind(&token.hash.0[..])
                .bind(token.expires_at)
                .bind(token.host.as_ref().map(HostId::as_str))
                .bind(token.uses_max)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// The join token with this hash, if it is in force at `now`; it may be used up.
    pub(crate) async fn join_token_in_force(
        &mut self,
        hash: &Sha256Digest,
        now: i64,
    ) -> Result<Option<JoinTokenRecord>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT hash, expires_at, host, uses_max, uses, revoked_at FROM join_tokens
                 WHERE hash = $1 AND expires_at > $2 AND revoked_at IS NULL",
            )
            .bind(&hash.0[..])
            .bind(now)
            .fetch_optional(connection)
            .await?
        });
        row.map(record).transpose()
    }

    /// Every join token, the last to expire first.
    pub(crate) async fn join_tokens(&mut self) -> Result<Vec<JoinTokenRecord>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT hash, expires_at, host, uses_max, uses, revoked_at FROM join_tokens
                 ORDER BY expires_at DESC, hash",
            )
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(record).collect()
    }

    /// Counts one use. `false`: none is left, or the token is no longer in force.
    pub(crate) async fn use_join_token(
        &mut self,
        hash: &Sha256Digest,
        now: i64,
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query(
                "UPDATE join_tokens SET uses = uses + 1
                 WHERE hash = $1 AND expires_at > $2 AND revoked_at IS NULL
                     AND (uses_max IS NULL OR uses < uses_max)",
            )
            .bind(&hash.0[..])
            .bind(now)
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Revokes a join token; one that was revoked before stays so.
    pub(crate) async fn revoke_join_token(
        &mut self,
        hash: &Sha256Digest,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE join_tokens SET revoked_at = COALESCE(revoked_at, $2) WHERE hash = $1")
                .bind(&hash.0[..])
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }
}

fn record(row: Row) -> Result<JoinTokenRecord, StoreError> {
    let (hash, expires_at, host, uses_max, uses, revoked_at) = row;
    Ok(JoinTokenRecord {
        hash: digest(&hash)?,
        expires_at,
        host: host.as_deref().map(host_id).transpose()?,
        uses_max,
        uses,
        revoked_at,
    })
}
