//! Private keys that keys from elsewhere are encrypted to, each once.

use super::layer_keys::Wrapped;
use super::{StoreError, Tx, on};

impl Tx {
    /// Keeps one.
    pub(crate) async fn add_import_key(
        &mut self,
        id: &str,
        wrapped: &Wrapped,
        now: i64,
        expires_at: i64,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO import_keys (id, wrapped, master, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(id)
            .bind(&wrapped.bytes)
            .bind(&wrapped.master)
            .bind(now)
            .bind(expires_at)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// One that has not expired at `now`.
    pub(crate) async fn import_key(
        &mut self,
        id: &str,
        now: i64,
    ) -> Result<Option<Wrapped>, StoreError> {
        let row: Option<(Vec<u8>, String)> = on!(self, connection => {
            sqlx::query_as("SELECT wrapped, master FROM import_keys WHERE id = $1 AND expires_at > $2")
                .bind(id)
                .bind(now)
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(|(bytes, master)| Wrapped { master, bytes }))
    }

    /// Takes one out, for its one use. `false`: there is none, or it has expired.
    pub(crate) async fn take_import_key(&mut self, id: &str, now: i64) -> Result<bool, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query("DELETE FROM import_keys WHERE id = $1 AND expires_at > $2")
                .bind(id)
                .bind(now)
                .execute(connection)
                .await?
                .rows_affected()
        }) == 1)
    }

    /// Deletes those that have expired at `now`.
    pub(crate) async fn forget_import_keys(&mut self, now: i64) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("DELETE FROM import_keys WHERE expires_at <= $1")
                .bind(now)
                .execute(connection)
                .await?;
        });
        Ok(())
    }
}
