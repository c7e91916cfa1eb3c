//! Databases of every schema so far, with data in them, are brought up to date.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::borrow::Cow;
use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::transparency::{Frontier, LeafHash};

use super::{Asked, Store, TagState};
use crate::role::Role;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How many schemas had a table of operators' tokens, and what was in it.
const OPERATOR_TOKENS: (usize, &str) = (
    7,
    "INSERT INTO operator_tokens (hash, created_at) VALUES (zeroblob(32), 1)",
);

/// The schema that keeps every tag: it takes over those that it finds.
const TAG_HISTORY_FROM: usize = 9;

/// What an attestor of the first schema may have written; later schemas only add to it.
const ROWS: [&str; 8] = [
    "INSERT INTO inventory (host, added_at) VALUES ('de-1', 1)",
    "INSERT INTO inventory_eks (ek_digest, host) VALUES (zeroblob(32), 'de-1')",
    "INSERT INTO hosts (host, ek_digest, ek_public, ak_public, tls_key, root_class, enrolled_at,
         firmware_version, reset_count, restart_count, clock, boot_log, verdict, result)
     VALUES ('de-1', zeroblob(32), x'02', x'03', zeroblob(32), 'simulator', 5, 7, 1, 2, 3, zeroblob(32), '{}', 'r')",
    "INSERT INTO challenges (nonce, host, pcrs, issued_at, expires_at) VALUES (zeroblob(32), 'de-1', '[0,1]', 8, 9)",
    "INSERT INTO location_tags (host, serial, tag) VALUES ('de-1', 4, x'0a')",
    "INSERT INTO policies (version, digest, manifests, applied_at) VALUES (1, zeroblob(32), 'text', 1)",
    "INSERT INTO nodes (node, host) VALUES ('worker-1', 'de-1')",
    "INSERT INTO endorsement_roots (digest, class, pem, imported_at) VALUES (x'0b', 'simulator', 'pem', 1)",
];

/// A database as the first `schemas` migrations left it, with the rows.
async fn older(file: &Path, schemas: usize) {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let migrations = MIGRATIONS.migrations[..schemas].to_vec();
    let older = Migrator {
        migrations: Cow::Owned(migrations),
        ..Migrator::DEFAULT
    };
    older.run(&pool).await.unwrap();
    let tokens = (schemas <= OPERATOR_TOKENS.0).then_some(OPERATOR_TOKENS.1);
    for row in ROWS.into_iter().chain(tokens) {
        sqlx::query(row).execute(&pool).await.unwrap();
    }
    let mut frontier = Frontier::empty();
    frontier.append(LeafHash::of(b"entry")).unwrap();
    sqlx::query("INSERT INTO entries (idx, leaf, body) VALUES (0, $1, $2)")
        .bind(&LeafHash::of(b"entry").digest().0[..])
        .bind(&b"entry"[..])
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("UPDATE tree SET size = 1, frontier = $1")
        .bind(frontier.to_bytes())
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

#[tokio::test]
async fn every_schema_so_far_is_brought_up_to_date_with_its_data() {
    let folder = tempfile::tempdir().unwrap();
    for schemas in 1..=MIGRATIONS.migrations.len() {
        let file = folder.path().join(schemas.to_string());
        older(&file, schemas).await;
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let asked = Asked {
            tls_key: [0; 32],
            nonce: vec![0; 32],
        };
        let seen = tx.look_up(&[asked]).await.unwrap();
        let found = seen.found.into_iter().next().unwrap().unwrap();
        let held = found.held().unwrap();
        assert_eq!(held.record.last_quote.unwrap().clock, 3, "schema {schemas}");
        assert_eq!(held.record.firmware_version, Some(7));
        assert_eq!(held.challenge.unwrap().expires_at, 9);
        assert_eq!(held.eks, [Sha256Digest::ZERO]);
        assert_eq!(held.tag, Some((4, vec![0x0a])));
        assert_eq!(held.tag_state, TagState::default());
        let history = tx.tag_history(&held.record.host).await.unwrap();
        assert_eq!(history.len(), usize::from(schemas < TAG_HISTORY_FROM));
        assert_eq!(held.boot, None);
        assert_eq!(tx.entries(0).await.unwrap(), [b"entry"]);
        assert_eq!(tx.policy().await.unwrap().unwrap().version, 1);
        assert_eq!(tx.nodes().await.unwrap().len(), 1);
        let operator = tx.credential(&Sha256Digest::ZERO).await.unwrap();
        assert_eq!(
            operator.is_some_and(|one| one.role == Role::Operator && one.in_force(9)),
            schemas <= OPERATOR_TOKENS.0
        );
        // It goes on: what is written now stands beside what was there.
        assert_eq!(tx.append(b"next").await.unwrap(), 1);
        assert!(tx.simulator_root_since().await.unwrap().is_some() || schemas > 2);
        tx.commit().await.unwrap();
    }
}
