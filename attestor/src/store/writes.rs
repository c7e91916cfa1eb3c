//! Whether the database takes writes. A full or a read-only disk answers whoever only reads, so it is tried.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{error::Elapsed, sleep, timeout};

use super::{Store, StoreError, on};
use crate::random;

/// Bytes of a try: room for less is room for no round.
const SIZE: usize = 128 << 10;
/// Between two tries while they fail.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a try may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Writes {
    failing: AtomicBool,
    doubted: Notify,
}

impl Store {
    /// Whether the last try to write failed.
    pub(crate) fn is_unwritable(&self) -> bool {
        self.writes.failing.load(Ordering::SeqCst)
    }

    /// A write failed: whether that is so for all is tried at once.
    pub(crate) fn doubt_writes(&self) {
        self.writes.doubted.notify_one();
    }

    /// Tries whenever a write failed, until one does not. Ends when it is dropped.
    pub(crate) async fn watch_writes(self) {
        loop {
            match self.is_unwritable() {
                true => sleep(PAUSE).await,
                false => self.writes.doubted.notified().await,
            }
            let outcome = timeout(PATIENCE, self.write_something()).await;
            self.note(&outcome);
        }
    }

    fn note(&self, outcome: &Result<Result<(), StoreError>, Elapsed>) {
        let failing = !matches!(outcome, Ok(Ok(())));
        let before = self.writes.failing.swap(failing, Ordering::SeqCst);
        match outcome {
            Ok(Ok(())) if before => tracing::info!("the database takes writes again"),
            Ok(Ok(())) => {}
            Ok(Err(error)) if !before => {
                let error = error as &dyn std::error::Error;
                tracing::error!(error, "the database takes no writes");
            }
            Err(_) if !before => tracing::error!("the database does not get a write done"),
            _ => {}
        }
    }

    /// Writes about as much as a round does. Bytes that cannot be compressed take all of their room.
    async fn write_something(&self) -> Result<(), StoreError> {
        let body: [u8; SIZE] = random::bytes()?;
        let mut tx = self.write().await?;
        on!(tx, connection => {
            sqlx::query(
                "INSERT INTO writes (id, body) VALUES (1, $1)
                 ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            )
            .bind(&body[..])
            .execute(connection)
            .await?;
        });
        tx.commit().await
    }
}
