//! The audit log's rows: entries, and the right edge of their tree.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::transparency::{Frontier, LeafHash};

use super::{Store, StoreError, Tx, on};

/// How many entries are fetched at once.
pub(crate) const PAGE: i64 = 512;

/// How many entries of the log are known to be committed: a database with fewer went back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Committed(Arc<AtomicU64>);

impl Committed {
    /// So many are.
    pub(crate) fn raise(&self, entries: u64) {
        self.0.fetch_max(entries, Ordering::SeqCst);
    }

    /// So many are known to be.
    pub(crate) fn entries(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Store {
    /// What is known of the log; shared with whoever gets to know more.
    pub(crate) fn committed(&self) -> Committed {
        self.committed.clone()
    }

    /// Whether nothing was ever written into the log.
    pub(crate) async fn is_new(&self) -> Result<bool, StoreError> {
        Ok(self.read().await?.frontier().await?.size() == 0)
    }
}

impl Tx {
    /// Appends `body` as the next entry and returns its index.
    pub(crate) async fn append(&mut self, body: &[u8]) -> Result<u64, StoreError> {
        let mut frontier = self.frontier().await?;
        let leaf = LeafHash::of(body);
        let index = frontier
            .append(leaf)
            .map_err(|_| StoreError::Malformed("tree"))?;
        let position = i64::try_from(index).map_err(|_| StoreError::Malformed("tree"))?;
        on!(self, connection => {
            sqlx::query("INSERT INTO entries (idx, leaf, body) VALUES ($1, $2, $3)")
                .bind(position)
                .bind(&leaf.digest().0[..])
                .bind(body)
                .execute(&mut *connection)
                .await?;
            let moved = sqlx::query("UPDATE tree SET size = $1, frontier = $2 WHERE id = 1 AND size = $3")
                .bind(position.saturating_add(1))
                .bind(frontier.to_bytes())
                .bind(position)
                .execute(connection)
                .await?
                .rows_affected();
            if moved != 1 {
                return Err(StoreError::Malformed("tree"));
            }
        });
        Ok(index)
    }

    /// How many entries there are.
    pub(crate) async fn log_size(&mut self) -> Result<u64, StoreError> {
        let (size,): (i64,) = on!(self, connection => {
            sqlx::query_as("SELECT size FROM tree WHERE id = 1")
                .fetch_one(connection)
                .await?
        });
        u64::try_from(size).map_err(|_| StoreError::Malformed("tree"))
    }

    /// The right edge of the tree as it stands.
    pub(crate) async fn frontier(&mut self) -> Result<Frontier, StoreError> {
        let (bytes,): (Vec<u8>,) = on!(self, connection => {
            sqlx::query_as("SELECT frontier FROM tree WHERE id = 1")
                .fetch_one(connection)
                .await?
        });
        Frontier::from_bytes(&bytes).map_err(|_| StoreError::Malformed("tree"))
    }

    /// Leaves from index `from` on and before `to`, ascending; some thousands at most.
    pub(crate) async fn leaves(&mut self, from: u64, to: u64) -> Result<Vec<LeafHash>, StoreError> {
        let index = |index| i64::try_from(index).map_err(|_| StoreError::Malformed("index"));
        let (from, to) = (index(from)?, index(to)?);
        let rows: Vec<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT leaf FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx LIMIT 4096")
                .bind(from)
                .bind(to)
                .fetch_all(connection)
                .await?
        });
        let leaf = |(leaf,): &(Vec<u8>,)| Ok(LeafHash::from_digest(digest(leaf)?));
        rows.iter().map(leaf).collect()
    }

    /// Up to [`PAGE`] entries from index `from` on, ascending.
    pub(crate) async fn entries(&mut self, from: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let from = i64::try_from(from).map_err(|_| StoreError::Malformed("index"))?;
        let rows: Vec<(Vec<u8>,)> = on!(self, connection => {
            sqlx::query_as("SELECT body FROM entries WHERE idx >= $1 ORDER BY idx LIMIT $2")
                .bind(from)
                .bind(PAGE)
                .fetch_all(connection)
                .await?
        });
        Ok(rows.into_iter().map(|(body,)| body).collect())
    }
}

/// Reads a digest column.
pub(super) fn digest(bytes: &[u8]) -> Result<Sha256Digest, StoreError> {
    Sha256Digest::try_from(bytes).map_err(|_| StoreError::Malformed("digest"))
}
