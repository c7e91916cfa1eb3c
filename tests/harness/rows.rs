//! The rows of an attestor's database, read and changed past the attestor.
//!
//! On SQLite the connection is one more process's: while it is open, an attestor that died is not the last one to
//! have used the file, and its successor has nothing to recover.

use std::path::Path;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row as _};

use crate::database::Database;

/// One connection to the database.
pub enum Rows {
    /// The file in an attestor's folder.
    Sqlite(SqlitePool),
    /// A cluster.
    Postgres(PgPool),
}

/// Columns as text; `None`: NULL.
pub type Columns = Vec<Option<String>>;

macro_rules! on {
    ($rows:expr, $pool:ident => $body:expr) => {
        match $rows {
            Rows::Sqlite($pool) => $body,
            Rows::Postgres($pool) => $body,
        }
    };
}

impl Rows {
    /// Those of `database`, which on SQLite is the file of the attestor whose folder this is.
    pub async fn of(database: &Database, folder: &Path) -> Self {
        match database.url() {
            None => {
                let file = SqliteConnectOptions::new().filename(folder.join("touchstone.db"));
                let one = SqlitePoolOptions::new().max_connections(1);
                Self::Sqlite(
                    one.connect_with(file.create_if_missing(true))
                        .await
                        .unwrap(),
                )
            }
            Some(url) => {
                let one = PgPoolOptions::new().max_connections(1);
                Self::Postgres(one.connect(&url).await.unwrap())
            }
        }
    }

    /// What a statement gives whose columns are all text.
    pub async fn all(&self, statement: &str) -> Vec<Columns> {
        let statement = AssertSqlSafe(statement.to_owned());
        on!(self, pool => {
            let rows = sqlx::query(statement).fetch_all(pool).await.unwrap();
            rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
        })
    }

    /// The one number that a statement gives, such as `SELECT count(*) FROM entries`.
    pub async fn number(&self, statement: &str) -> i64 {
        let statement = AssertSqlSafe(statement.to_owned());
        on!(self, pool => sqlx::query_scalar(statement).fetch_one(pool).await.unwrap())
    }

    /// Runs statements that are separated by semicolons.
    pub async fn execute(&self, statements: &str) {
        let done = self.try_to(statements).await;
        done.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// The same, where the database may refuse.
    pub async fn try_to(&self, statements: &str) -> Result<(), sqlx::Error> {
        on!(self, pool => {
            let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(pool).await;
            done.map(drop)
        })
    }

    /// Gives the connection up.
    pub async fn close(self) {
        on!(&self, pool => pool.close().await);
    }
}
