//! A database as an attestor of an older schema would have left it: the first migrations on nothing, and then all
//! rows of today's database, as far as that schema had tables and columns for them.

use std::path::{Path, PathBuf};

use sqlx::migrate::Migrator;
use touchstone_tests::database::Database;
use touchstone_tests::rows::{Columns, Rows};

use crate::ledger;

/// Today's database, kept aside, of which older ones are made in its place.
pub(super) struct Today {
    folder: PathBuf,
    migrations: Migrator,
}

/// A table of an older schema, and all that was in it.
pub(super) struct Table {
    name: String,
    columns: Vec<String>,
    rows: Vec<Columns>,
}

impl Today {
    /// Puts the database of the attestor in `folder`, which was stopped, aside.
    pub(super) async fn put_aside(database: &Database, folder: &Path) -> Self {
        let kind = match database {
            Database::Sqlite => "sqlite",
            Database::Postgres(_) => "postgres",
        };
        let migrations = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../attestor/migrations")
            .join(kind);
        match database {
            Database::Sqlite => {
                let file = |name: &str| folder.join(name);
                // An orderly end left no write-ahead log beside it.
                assert!(!file("touchstone.db-wal").exists());
                std::fs::rename(file("touchstone.db"), file("today.db")).unwrap();
            }
            Database::Postgres(_) => {
                let rows = Rows::of(database, folder).await;
                rows.execute("ALTER SCHEMA public RENAME TO today").await;
                rows.close().await;
            }
        }
        Self {
            folder: folder.to_owned(),
            migrations: Migrator::new(migrations).await.unwrap(),
        }
    }

    /// How many schemas there were.
    pub(super) fn schemas(&self) -> usize {
        self.migrations.migrations.len()
    }

    /// Puts a database of the first `schemas` migrations in the attestor's way: its tables, filled.
    pub(super) async fn make_older(&self, database: &Database, schemas: usize) -> Vec<Table> {
        let rows = self.empty(database).await;
        let older = Migrator {
            migrations: self.migrations.migrations[..schemas].to_vec().into(),
            ..Migrator::DEFAULT
        };
        match &rows {
            Rows::Sqlite(pool) => {
                older.run(pool).await.unwrap();
                let today = self.folder.join("today.db");
                let attach = format!("ATTACH '{}' AS today", today.display());
                rows.execute(&attach).await;
            }
            Rows::Postgres(pool) => older.run(pool).await.unwrap(),
        }
        let mut tables = Vec::new();
        for name in tables_of(&rows).await {
            let columns = columns_of(&rows, &name).await;
            let listed = columns.join(", ");
            let source = match name == "evidence" && !columns.contains(&"entry".to_owned()) {
                true => whole_evidence(&rows).await,
                false => format!("SELECT {listed} FROM {}", where_it_went(&name, "today.")),
            };
            rows.execute(&format!(
                "DELETE FROM {name}; INSERT INTO {name} ({listed}) {source}"
            ))
            .await;
            let held = contents(&rows, &name, &columns).await;
            tables.push(Table {
                name,
                columns,
                rows: held,
            });
        }
        rows.close().await;
        tables
    }

    /// Nothing, where the attestor looks for its database.
    async fn empty(&self, database: &Database) -> Rows {
        if let Database::Sqlite = database {
            for name in ["touchstone.db", "touchstone.db-wal", "touchstone.db-shm"] {
                let _absent = std::fs::remove_file(self.folder.join(name));
            }
            return Rows::of(database, &self.folder).await;
        }
        let rows = Rows::of(database, &self.folder).await;
        rows.execute("DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public")
            .await;
        rows
    }
}

impl Table {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many rows were in it.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Everything that was in it is in it still, column by column.
    pub(super) async fn assert_kept(&self, rows: &Rows) {
        let now = where_it_went(&self.name, "");
        let now = contents(rows, &now, &self.columns).await;
        for row in &self.rows {
            assert!(now.contains(row), "{}: {row:?} is gone", self.name);
        }
    }
}

/// What holds today what was in a table of an older schema.
fn where_it_went(table: &str, schema: &str) -> String {
    match table {
        "operator_tokens" => format!(
            "(SELECT key AS hash, created_at FROM {schema}credentials WHERE role = 'operator') AS t"
        ),
        "challenges" => format!(
            "(SELECT c.*, a.answer FROM {schema}challenges AS c
              LEFT JOIN {schema}answers AS a ON a.id = c.answered) AS t"
        ),
        _ => format!("{schema}{table}"),
    }
}

/// Evidence as it was kept when it was kept whole: digest, host, time and body of each.
async fn whole_evidence(rows: &Rows) -> String {
    let hex = match rows {
        Rows::Sqlite(_) => "hex",
        Rows::Postgres(_) => "today.hex",
    };
    let statement = format!(
        "SELECT lower({hex}(e.digest)), e.host, CAST(e.received_at AS TEXT), lower({hex}(e.body)),
             CAST(e.boot_log_at AS TEXT), lower({hex}(l.body))
         FROM today.evidence AS e LEFT JOIN today.boot_logs AS l ON l.digest = e.boot_log"
    );
    let bytes = |digits: &str| match rows {
        Rows::Sqlite(_) => format!("x'{digits}'"),
        Rows::Postgres(_) => format!("decode('{digits}', 'hex')"),
    };
    let kept = rows.all(&statement).await.into_iter().map(|mut row| {
        let body = ledger::whole_body(row.split_off(3));
        let [digest, host, received_at] = &row[..] else {
            panic!("{row:?}");
        };
        let text = |column: &Option<String>| column.clone().unwrap();
        format!(
            "({}, '{}', {}, {})",
            bytes(&text(digest)),
            text(host),
            text(received_at),
            bytes(&body)
        )
    });
    format!("VALUES {}", kept.collect::<Vec<_>>().join(", "))
}

/// Tables in the order in which they were made: each after those that it refers to.
async fn tables_of(rows: &Rows) -> Vec<String> {
    let statement = match rows {
        Rows::Sqlite(_) => {
            "SELECT name FROM main.sqlite_master
             WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY rowid"
        }
        Rows::Postgres(_) => {
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT LIKE '\\_sqlx%' ORDER BY oid"
        }
    };
    names(rows, statement).await
}

async fn columns_of(rows: &Rows, table: &str) -> Vec<String> {
    let statement = match rows {
        Rows::Sqlite(_) => format!("SELECT name FROM pragma_table_info('{table}', 'main')"),
        Rows::Postgres(_) => format!(
            "SELECT column_name::text FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name = '{table}' ORDER BY ordinal_position"
        ),
    };
    names(rows, &statement).await
}

async fn names(rows: &Rows, statement: &str) -> Vec<String> {
    let found = rows.all(statement).await;
    found.into_iter().flatten().flatten().collect()
}

/// All rows, each column as it is written in SQL.
async fn contents(rows: &Rows, table: &str, columns: &[String]) -> Vec<Columns> {
    let written = |column: &String| match rows {
        Rows::Sqlite(_) => format!("quote({column})"),
        Rows::Postgres(_) => format!("quote_nullable({column})"),
    };
    let columns: Vec<String> = columns.iter().map(written).collect();
    let statement = format!("SELECT {} FROM {table}", columns.join(", "));
    rows.all(&statement).await
}
