//! SQLite's log is written back into its file beside the writer: done by the writer, as it is by default, it keeps
//! everybody waiting who commits. Only what is left at the end is done by the writer, after which the log begins anew.

use std::time::Duration;

use sqlx::SqlitePool;
use tokio::time::{MissedTickBehavior, interval};

use super::{Backend, Store, StoreError};

/// Between two times: what is written back at once is what was committed meanwhile, each page once.
const PAUSE: Duration = Duration::from_secs(1);
/// Pages of a log that is to begin anew: 32 MiB.
const LOG_PAGES: i64 = 8192;

impl Store {
    /// Writes back until it is dropped. PostgreSQL needs none of it.
    pub(crate) async fn write_back(self) {
        let Backend::Sqlite { writer, beside, .. } = &self.backend else {
            return;
        };
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let written = once(writer, beside).await;
            let done = match written {
                Ok(()) => self.scrub_again(writer, beside).await,
                failed => failed,
            };
            if let Err(error) = done {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the database's log was not written back");
            }
        }
    }
}

async fn once(writer: &SqlitePool, beside: &SqlitePool) -> Result<(), StoreError> {
    if checkpoint(beside).await? >= LOG_PAGES {
        checkpoint(writer).await?;
    }
    Ok(())
}

/// Writes back what no reader still needs elsewhere, and waits for nobody; how many pages the log has.
async fn checkpoint(connection: &SqlitePool) -> Result<i64, StoreError> {
    let (_busy, pages, _written): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)")
            .fetch_one(connection)
            .await?;
    Ok(pages)
}

/// Writes everything back and leaves the log empty. `false`: somebody reads from it, or writes; nobody is waited for.
pub(super) async fn begin_log_anew(beside: &SqlitePool) -> Result<bool, StoreError> {
    // Who is in the way is told by a row, and is no error.
    let (busy, _pages, _written): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(beside)
            .await?;
    Ok(busy == 0)
}
