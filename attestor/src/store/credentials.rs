//! Credentials of those who are no hosts, by digests of what they show.

use touchstone_evidence::digest::Sha256Digest;

use super::log::digest;
use super::{StoreError, Tx, on};
use crate::role::{CredentialName, Role, Way};

/// A credential as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CredentialRecord {
    /// SHA-256 of the bearer token, or of the TLS key's SubjectPublicKeyInfo.
    pub(crate) key: Sha256Digest,
    pub(crate) way: Way,
    pub(crate) role: Role,
    pub(crate) name: CredentialName,
    /// Seconds since 1970, as are the others.
    pub(crate) created_at: i64,
    /// `None`: until it is revoked.
    pub(crate) expires_at: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
}

impl CredentialRecord {
    /// Whether it counts at `now`.
    pub(crate) fn in_force(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

type Row = (
    Vec<u8>,
    String,
    String,
    String,
    i64,
    Option<i64>,
    Option<i64>,
);

impl Tx {
    /// Keeps a new credential. `false`: the name or the key is taken, and always will be.
    pub(crate) async fn add_credential(
        &mut self,
        credential: &CredentialRecord,
    ) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query(
                "INSERT INTO credentials (key, way, role, name, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .bind(&credential.key.0[..])
            .bind(credential.way.word())
            .bind(credential.role.word())
            .bind(credential.name.as_str())
            .bind(credential.created_at)
            .bind(credential.expires_at)
            .execute(connection)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// The credential with this key, in force or not.
    pub(crate) async fn credential(
        &mut self,
        key: &Sha256Digest,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT key, way, role, name, created_at, expires_at, revoked_at FROM credentials
                 WHERE key = $1",
            )
            .bind(&key.0[..])
            .fetch_optional(connection)
            .await?
        });
        row.map(record).transpose()
    }

    /// Every credential there ever was, by name.
    pub(crate) async fn credentials(&mut self) -> Result<Vec<CredentialRecord>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT key, way, role, name, created_at, expires_at, revoked_at FROM credentials
                 ORDER BY name",
            )
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(record).collect()
    }

    /// Takes a credential back; one that was taken back before stays so.
    pub(crate) async fn revoke_credential(
        &mut self,
        key: &Sha256Digest,
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE credentials SET revoked_at = COALESCE(revoked_at, $2) WHERE key = $1")
                .bind(&key.0[..])
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }
}

fn record(row: Row) -> Result<CredentialRecord, StoreError> {
    const MALFORMED: StoreError = StoreError::Malformed("credential");
    let (key, way, role, name, created_at, expires_at, revoked_at) = row;
    Ok(CredentialRecord {
        key: digest(&key)?,
        way: Way::of(&way).ok_or(MALFORMED)?,
        role: Role::of(&role).ok_or(MALFORMED)?,
        name: name.parse().map_err(|_| MALFORMED)?,
        created_at,
        expires_at,
        revoked_at,
    })
}
