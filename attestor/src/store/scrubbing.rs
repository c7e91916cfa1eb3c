//! Leaving no copy of what is deleted in the database's own files, as far as the database can. Backups, and archives of
//! PostgreSQL's log, are not reached.
//!
//! SQLite's log begins anew only when nobody reads from it. Nobody waits for that: it is tried again, each second.

use std::sync::atomic::Ordering;

use sqlx::SqlitePool;
use sqlx::postgres::PgPool;

use super::write_back::begin_log_anew;
use super::{Backend, Connection, Store, StoreError, Tx};

impl Store {
    /// Overwrites in the database's file what this transaction deletes or replaces from here on, and has its log
    /// scrubbed once the transaction has ended. (PostgreSQL keeps old rows until [`Self::scrub`].)
    pub(crate) async fn overwrite_deleted(&self, tx: &mut Tx) -> Result<(), StoreError> {
        if let Connection::Sqlite(transaction) = &mut tx.0 {
            sqlx::query("PRAGMA secure_delete = ON")
                .execute(&mut **transaction)
                .await?;
            self.unscrubbed.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// After what was deleted is committed: leaves no copy of it, now or, where SQLite's readers are in the way, soon.
    pub(crate) async fn scrub(&self) {
        let scrubbed = match &self.backend {
            Backend::Sqlite { writer, beside, .. } => self.scrub_log(writer, beside).await,
            Backend::Postgres(pool) => scrub_tables(pool).await.map(|()| true),
        };
        match scrubbed {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                "copies of deleted keys are left in the database's log while somebody reads from it; it is scrubbed as \
                 soon as nobody does"
            ),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "copies of deleted keys may be left in the database's files"
                );
            }
        }
    }

    /// What could not be done before, if there is any.
    pub(super) async fn scrub_again(
        &self,
        writer: &SqlitePool,
        beside: &SqlitePool,
    ) -> Result<(), StoreError> {
        if self.unscrubbed.load(Ordering::SeqCst) && self.scrub_log(writer, beside).await? {
            tracing::info!(
                "the database's log is scrubbed: no copies of deleted keys are left in it"
            );
        }
        Ok(())
    }

    /// `false`: a reader is in the way. The writer does nothing meanwhile, so that no transaction that deletes comes
    /// between the deed and its note.
    async fn scrub_log(
        &self,
        writer: &SqlitePool,
        beside: &SqlitePool,
    ) -> Result<bool, StoreError> {
        let mut writer = writer.acquire().await?;
        sqlx::query("PRAGMA secure_delete = OFF")
            .execute(&mut *writer)
            .await?;
        let scrubbed = begin_log_anew(beside).await?;
        self.unscrubbed.store(!scrubbed, Ordering::SeqCst);
        Ok(scrubbed)
    }
}

async fn scrub_tables(pool: &PgPool) -> Result<(), StoreError> {
    for statement in ["VACUUM FULL layer_key_versions", "VACUUM FULL import_keys"] {
        sqlx::query(statement).execute(pool).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::path::Path;
    use std::time::{Duration, Instant};

    use touchstone_evidence::annotation::KeyName;

    use crate::store::{KeyState, LayerKeyRecord, Origin, Store, Wrapped, WrappedVersion};

    /// Longer than the task that repeats takes, on a machine that is busy.
    const SOON: Duration = Duration::from_secs(20);

    async fn open(folder: &Path) -> Store {
        let file = folder.join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        store.unwrap()
    }

    fn name() -> KeyName {
        "payments".parse().unwrap()
    }

    /// Keeps a key of which these bytes are kept.
    async fn keep(store: &Store, bytes: &[u8]) {
        let mut tx = store.write().await.unwrap();
        let record = LayerKeyRecord {
            name: name(),
            policy: "payments".parse().unwrap(),
            registered: false,
            state: KeyState::Active,
            version: 0,
            created_at: 1,
            destroyed_at: None,
        };
        assert!(tx.add_layer_key(&record).await.unwrap());
        let wrapped = Wrapped {
            master: "0123".to_owned(),
            bytes: bytes.to_vec(),
        };
        let version = WrappedVersion {
            name: name(),
            version: 1,
            wrapped,
        };
        tx.add_key_version(&version, Origin::Made, 1).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn destroy(store: &Store) {
        let mut tx = store.write().await.unwrap();
        store.overwrite_deleted(&mut tx).await.unwrap();
        tx.destroy_layer_key(&name(), 2).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn holds(folder: &Path, bytes: &[u8]) -> bool {
        std::fs::read_dir(folder).unwrap().any(|entry| {
            let content = std::fs::read(entry.unwrap().path()).unwrap();
            content.windows(bytes.len()).any(|part| part == bytes)
        })
    }

    async fn until_gone(folder: &Path, bytes: &[u8]) {
        let begun = Instant::now();
        while holds(folder, bytes) {
            assert!(begun.elapsed() < SOON, "the bytes are still there");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn whoever_reads_delays_the_end_of_deleted_bytes_and_nobody_who_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (store, bytes) = (open(folder.path()).await, [0x5a; 60]);
        keep(&store, &bytes).await;
        let mut reader = store.read().await.unwrap();
        assert_eq!(reader.master_keys().await.unwrap(), ["0123"]);
        let begun = Instant::now();
        destroy(&store).await;
        let scrubbing = tokio::spawn({
            let store = store.clone();
            async move { store.scrub().await }
        });
        tokio::task::yield_now().await;
        store.write().await.unwrap().commit().await.unwrap();
        scrubbing.await.unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        // The reader still sees them.
        assert_eq!(reader.master_keys().await.unwrap(), ["0123"]);
        assert!(holds(folder.path(), &bytes));
        reader.commit().await.unwrap();
        let repeated = tokio::spawn(store.write_back());
        until_gone(folder.path(), &bytes).await;
        repeated.abort();
    }

    #[tokio::test]
    async fn what_an_attestor_that_died_did_not_scrub_the_next_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let (died, bytes) = (open(folder.path()).await, [0x5a; 60]);
        keep(&died, &bytes).await;
        destroy(&died).await;
        assert!(holds(folder.path(), &bytes));
        let next = tokio::spawn(open(folder.path()).await.write_back());
        until_gone(folder.path(), &bytes).await;
        next.abort();
    }
}
