//! Exchanges of the key that signs the log's heads, and the handovers that the auditors follow.

use super::{StoreError, Tx, on};

/// One exchange.
#[derive(Clone, Debug)]
pub(crate) struct KeyExchange {
    /// Index of the entry that says so.
    pub(crate) entry: u64,
    /// The key from there on, as auditors know it.
    pub(crate) checkpoint_key: String,
    /// The head whose last entry it is, signed by both keys. `None`: not signed yet.
    pub(crate) note: Option<String>,
}

type Row = (i64, String, Option<String>);

impl Tx {
    /// The exchange whose key the log is at. `None`: it is at its first key.
    pub(crate) async fn last_key_exchange(&mut self) -> Result<Option<KeyExchange>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as("SELECT idx, checkpoint_key, note FROM key_exchanges ORDER BY idx DESC LIMIT 1")
                .fetch_optional(connection)
                .await?
        });
        row.map(exchange).transpose()
    }

    /// All of them, by their entries.
    pub(crate) async fn key_exchanges(&mut self) -> Result<Vec<KeyExchange>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as("SELECT idx, checkpoint_key, note FROM key_exchanges ORDER BY idx")
                .fetch_all(connection)
                .await?
        });
        rows.into_iter().map(exchange).collect()
    }

    /// The log is at `checkpoint_key` from this entry on.
    pub(crate) async fn add_key_exchange(
        &mut self,
        entry: u64,
        checkpoint_key: &str,
    ) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("INSERT INTO key_exchanges (idx, checkpoint_key) VALUES ($1, $2)")
                .bind(position(entry)?)
                .bind(checkpoint_key)
                .execute(connection)
                .await?;
        });
        Ok(())
    }

    /// Keeps the handover of the exchange at this entry, which never changes.
    pub(crate) async fn keep_handover(&mut self, entry: u64, note: &str) -> Result<(), StoreError> {
        on!(self, connection => {
            sqlx::query("UPDATE key_exchanges SET note = $1 WHERE idx = $2 AND note IS NULL")
                .bind(note)
                .bind(position(entry)?)
                .execute(connection)
                .await?;
        });
        Ok(())
    }
}

fn exchange((entry, checkpoint_key, note): Row) -> Result<KeyExchange, StoreError> {
    let entry = u64::try_from(entry).map_err(|_| StoreError::Malformed("index"))?;
    Ok(KeyExchange {
        entry,
        checkpoint_key,
        note,
    })
}

fn position(entry: u64) -> Result<i64, StoreError> {
    i64::try_from(entry).map_err(|_| StoreError::Malformed("index"))
}
