//! Public halves of the keys that sign, or signed, attestation results.

use super::{StoreError, Tx, on};

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResultKeyRecord {
    /// The `kid` of its results.
    pub(crate) id: String,
    pub(crate) public_key: [u8; 32],
    /// Seconds since 1970, as are the others.
    pub(crate) since: i64,
    /// When another took its place; `None`: it signs.
    pub(crate) until: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
}

type Row = (String, Vec<u8>, i64, Option<i64>, Option<i64>);

impl Tx {
    /// Every key there ever was, the newest first.
    pub(crate) async fn result_keys(&mut self) -> Result<Vec<ResultKeyRecord>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT id, public_key, since, until, revoked_at FROM result_keys
                 ORDER BY until IS NULL DESC, since DESC, id",
            )
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(record).collect()
    }

    /// Lets a key sign from now on, in the place of the one that did.
    pub(crate) async fn add_result_key(
        &mut self,
        id: &str,
        public_key: &[u8; 32],
        now: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE result_keys SET until = $1 WHERE until IS NULL")
                .bind(now)
                .execute(&mut *connection)
                .await?;
            sqlx::query("INSERT INTO result_keys (id, public_key, since) VALUES ($1, $2, $3)")
                .bind(id)
                .bind(&public_key[..])
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Takes a key back; one that was taken back before stays so.
    pub(crate) async fn revoke_result_key(&mut self, id: &str, now: i64) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE result_keys SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1")
                .bind(id)
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }
}

fn record((id, public_key, since, until, revoked_at): Row) -> Result<ResultKeyRecord, StoreError> {
    let public_key = public_key.try_into();
    Ok(ResultKeyRecord {
        id,
        public_key: public_key.map_err(|_| StoreError::Malformed("result key"))?,
        since,
        until,
        revoked_at,
    })
}
