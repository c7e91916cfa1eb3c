//! Opening the database; if it does not open, the error says what was tried and what to look at.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Backend, Store, StoreError};

/// How long PostgreSQL may take to let a connection in.
const PATIENCE: Duration = Duration::from_secs(5);

impl Store {
    /// Opens `url` and brings its schema up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, StoreError> {
        if let Some(file) = url.strip_prefix("sqlite:") {
            return Self::open_sqlite(Path::new(file)).await;
        }
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Self::open_postgres(url).await;
        }
        let scheme = url.split(':').next().unwrap_or_default();
        Err(StoreError::Url(scheme.to_owned()))
    }

    async fn open_sqlite(file: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Kibibytes, and pages of the log with which the writer writes it back itself, where `write_back` does not
            // keep up: 200 MiB.
            .pragma("cache_size", "-65536")
            .pragma("wal_autocheckpoint", "50000")
            // What undoes a single statement is in memory, and no file that is made for it.
            .pragma("temp_store", "MEMORY")
            .busy_timeout(Duration::from_secs(5));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            // There is no network to lose it to.
            .test_before_acquire(false)
            // SQLite ends a transaction itself when its disk is full; sqlx then still counts it, and would begin none
            // on this connection any more.
            .before_acquire(|connection, _| {
                let usable = !connection.is_in_transaction();
                Box::pin(async move { Ok(usable) })
            })
            .connect_with(options.clone())
            .await
            .map_err(|error| file_closed(file, error))?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            // What is read for rounds is read by the writer: here a large cache would only be filled again and again.
            .connect_with(
                options
                    .clone()
                    .read_only(true)
                    .pragma("cache_size", "-4096"),
            )
            .await?;
        let beside = SqlitePoolOptions::new()
            .max_connections(1)
            // Whoever commits would wait while it waits for readers.
            .connect_lazy_with(
                options
                    .pragma("cache_size", "-1024")
                    .busy_timeout(Duration::ZERO),
            );
        Ok(Self::on(Backend::Sqlite {
            writer,
            readers,
            beside,
        }))
    }

    async fn open_postgres(url: &str) -> Result<Self, StoreError> {
        // The URL holds a password: no part of it is told but what is asked for below.
        let options: PgConnectOptions = url.parse().map_err(|error| StoreError::Opening {
            tried: "the URL of the database does not read".to_owned(),
            next: "write it as `postgres://USER:PASSWORD@HOST:PORT/NAME`, with `%40` for an `@` in the password",
            source: Box::<sqlx::Error>::new(error),
        })?;
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(PATIENCE)
            // Every writer waits for the one before. If that was stopped in the middle, the server ends its turn.
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::query("SET idle_in_transaction_session_timeout = '5s'")
                        .execute(connection)
                        .await
                        .map(drop)
                })
            })
            .connect_with(options.clone())
            .await
            .map_err(|error| server_closed(&options, error))?;
        sqlx::migrate!("migrations/postgres").run(&pool).await?;
        Ok(Self::on(Backend::Postgres(pool)))
    }
}

fn file_closed(file: &Path, source: sqlx::Error) -> StoreError {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let next = match folder {
        Some(folder) if !folder.is_dir() => {
            "its folder is not there: make it, or give another file to --database"
        }
        _ => {
            "see that it is a database of SQLite, and that the attestor's user may write it and its folder"
        }
    };
    StoreError::Opening {
        tried: format!("the file `{}` does not open", file.display()),
        next,
        source: Box::new(source),
    }
}

/// PostgreSQL's codes of what is wrong with the URL are in its appendix A.
fn server_closed(options: &PgConnectOptions, source: sqlx::Error) -> StoreError {
    let code = source
        .as_database_error()
        .and_then(|error| error.code().map(|code| code.into_owned()));
    let next = match code.as_deref() {
        Some("28P01" | "28000") => {
            "mend user and password in --database, or let the user in with pg_hba.conf"
        }
        Some("3D000") => "make the database with createdb, or mend its name in --database",
        Some(_) => "see what PostgreSQL says, and try again",
        None => "see that it runs and is reached from here, and mend host and port in --database",
    };
    StoreError::Opening {
        tried: format!(
            "PostgreSQL at `{}:{}` did not let user `{}` in within {} s",
            options.get_host(),
            options.get_port(),
            options.get_username(),
            PATIENCE.as_secs()
        ),
        next,
        source: Box::new(source),
    }
}
