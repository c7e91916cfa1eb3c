//! The database: SQLite embedded, or PostgreSQL. One set of statements runs on both.
//!
//! Invariant: this is the only module that names sqlx, and it decides nothing. Writers run one at a
//! time (SQLite's single writer; on PostgreSQL the row of the tree is locked first), so that what a
//! transaction reads still holds when it commits.

mod boots;
mod clusters;
mod credentials;
mod endorsements;
mod enrolment;
mod evidence;
mod groups;
mod held;
mod hosts;
mod identities;
mod images;
mod import_keys;
mod join_tokens;
mod kept;
mod key_exchanges;
mod layer_keys;
mod leases;
mod location;
mod log;
mod machines;
mod nodes;
mod oems;
mod opening;
mod places;
mod policy;
mod quarantine;
mod references;
mod result_keys;
mod rounds;
mod scrubbing;
mod webhooks;
mod workloads;
mod write_back;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use crate::random::NoRandomness;

pub(crate) use boots::Boot;
pub(crate) use credentials::CredentialRecord;
pub(crate) use endorsements::StoredBundle;
pub(crate) use enrolment::PendingEnrolment;
pub(crate) use evidence::RawEvidence;
pub(crate) use groups::{Group, RoundRow};
pub(crate) use held::{Asked, Found, Held, Snapshot};
pub(crate) use hosts::{Endorsed, HostRecord, Identity, QuoteClock, class, class_word};
pub(crate) use identities::{End, KeyHolder};
pub(crate) use images::{ImageLayerKey, ImageRecord};
pub(crate) use join_tokens::JoinTokenRecord;
pub(crate) use kept::KeptRound;
pub(crate) use key_exchanges::KeyExchange;
pub(crate) use layer_keys::{KeyState, LayerKeyRecord, Origin, Wrapped, WrappedVersion};
pub(crate) use leases::{After, Claim, Grounds, KeptLease, NewLease, Revocation};
pub(crate) use location::{KeptAuthority, KeptTag, TagEnd, TagState};
pub(crate) use log::{Committed, PAGE};
pub(crate) use machines::{InventoryEntry, MachineState};
pub(crate) use nodes::{MappedNode, NodeBoot, UntoldBoots};
pub(crate) use oems::StoredOem;
pub(crate) use places::{KeptMove, KeptPlace};
pub(crate) use policy::StoredPolicy;
pub(crate) use quarantine::TpmDescription;
pub(crate) use references::PendingReference;
pub(crate) use result_keys::ResultKeyRecord;
pub(crate) use rounds::StoredChallenge;
pub(crate) use workloads::{AfterWorkload, WorkloadRecord};
use writes::Writes;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It did not answer, or refused.
    #[error("the database did not do its work")]
    Database(#[from] sqlx::Error),
    /// It could not be opened. `tried`: what, and how it went; `next`: what to look at.
    #[error("{tried}; {next}")]
    Opening {
        tried: String,
        next: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The URL is neither SQLite's nor PostgreSQL's.
    #[error(
        "databases of the kind `{0}` are not known; give `sqlite:FILE` or `postgres://USER:PASSWORD@HOST:PORT/NAME` \
         to --database"
    )]
    Url(String),
    /// No randomness for what must be unique in it.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// What was looked up with others was not found out; the reason is in the log.
    #[error("the database could not be asked")]
    Unavailable,
    /// The database went back, or is another one.
    #[error("the database is not the one whose audit log was signed; nothing is written to it")]
    Fenced,
    /// A row does not hold what this software writes.
    #[error("the database holds a malformed {0}")]
    Malformed(&'static str),
}

impl StoreError {
    /// Whether what was to be written broke a rule of the schema, so that the database itself is well.
    pub(crate) fn is_constraint(&self) -> bool {
        use sqlx::error::ErrorKind::{CheckViolation, NotNullViolation, UniqueViolation};
        let Self::Database(sqlx::Error::Database(error)) = self else {
            return false;
        };
        matches!(
            error.kind(),
            CheckViolation | NotNullViolation | UniqueViolation
        )
    }
}

/// A handle to the database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    backend: Backend,
    /// Whether nothing is written any more: the database is not the one that it was.
    fenced: Arc<AtomicBool>,
    committed: Committed,
    writes: Arc<Writes>,
    /// Whether SQLite's log may hold copies of what was deleted.
    unscrubbed: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
enum Backend {
    Sqlite {
        /// One connection: SQLite has one writer.
        writer: SqlitePool,
        readers: SqlitePool,
        /// One connection, that writes the log back and waits for nobody.
        beside: SqlitePool,
    },
    Postgres(PgPool),
}

/// A transaction. Dropped without [`Tx::commit`], it leaves nothing behind.
pub(crate) struct Tx(Connection);

enum Connection {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// Runs one expression on whichever connection the transaction has.
macro_rules! on {
    ($tx:expr, $connection:ident => $body:expr) => {
        match &mut $tx.0 {
            $crate::store::Connection::Sqlite(transaction) => {
                let $connection = &mut **transaction;
                $body
            }
            $crate::store::Connection::Postgres(transaction) => {
                let $connection = &mut **transaction;
                $body
            }
        }
    };
}
use on;

#[cfg(test)]
impl Tx {
    /// Runs a statement of a test; how many rows it was about.
    pub(crate) async fn run(&mut self, statement: &'static str) -> Result<u64, StoreError> {
        Ok(on!(self, connection => {
            sqlx::query(statement).execute(connection).await?.rows_affected()
        }))
    }
}

impl Store {
    fn on(backend: Backend) -> Self {
        Self {
            backend,
            fenced: Arc::default(),
            committed: Committed::default(),
            writes: Arc::default(),
            // By an attestor that died, perhaps.
            unscrubbed: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Writes nothing from now on.
    pub(crate) fn fence(&self) {
        self.fenced.store(true, Ordering::SeqCst);
    }

    /// Whether nothing is written any more.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::SeqCst)
    }

    /// Begins a transaction that writes.
    pub(crate) async fn write(&self) -> Result<Tx, StoreError> {
        if self.is_fenced() {
            return Err(StoreError::Fenced);
        }
        let connection = match &self.backend {
            Backend::Sqlite { writer, .. } => {
                Connection::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?)
            }
            Backend::Postgres(pool) => {
                // What it reads after it has its turn must be what the last writer left, whatever the server's
                // default is.
                let mut transaction = pool
                    .begin_with("BEGIN ISOLATION LEVEL READ COMMITTED")
                    .await?;
                let (size,): (i64,) =
                    sqlx::query_as("SELECT size FROM tree WHERE id = 1 FOR UPDATE")
                        .fetch_one(&mut *transaction)
                        .await?;
                // A standby that lagged behind took over: it must not grow another log.
                if u64::try_from(size).is_ok_and(|size| size < self.committed.entries()) {
                    self.fence();
                    return Err(StoreError::Fenced);
                }
                Connection::Postgres(transaction)
            }
        };
        Ok(Tx(connection))
    }

    /// Begins a transaction that only reads.
    pub(crate) async fn read(&self) -> Result<Tx, StoreError> {
        let connection = match &self.backend {
            Backend::Sqlite { readers, .. } => Connection::Sqlite(readers.begin().await?),
            Backend::Postgres(pool) => Connection::Postgres(
                pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await?,
            ),
        };
        Ok(Tx(connection))
    }

    /// Closes every connection, after what is under way.
    pub(crate) async fn close(&self) {
        match &self.backend {
            Backend::Sqlite {
                writer,
                readers,
                beside,
            } => {
                beside.close().await;
                readers.close().await;
                writer.close().await;
            }
            Backend::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes everything in it durable.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self.0 {
            Connection::Sqlite(transaction) => transaction.commit().await?,
            Connection::Postgres(transaction) => transaction.commit().await?,
        }
        Ok(())
    }
}
