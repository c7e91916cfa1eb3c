//! A database that went back is found out by what is kept outside of it.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World, healthy_host};

fn code(problem: &Value) -> &str {
    let kind = problem["type"].as_str().unwrap();
    kind.strip_prefix("touchstone:").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_is_not_gone_on_with_until_somebody_says_so() {
    let (mut world, host, _maker) = healthy_host().await;
    let database = Database::Sqlite;
    world.server.stop();
    let file = world.server.folder().join("touchstone.db");
    let backup = world.server.folder().join("backup.db");
    std::fs::copy(&file, &backup).unwrap();
    world.server.restart_with(&database, &[]);
    let size = world.server.audit_entries().len();
    assert_eq!(host.attest(&world.server).unwrap()["tier"], "affirming");
    assert!(world.server.place("u1", "node-de-1").await.0);
    // A head of it is signed, here for the auditor.
    let signed = world.server.audit_entries().len();
    world.server.stop();

    // With the backup, the keys being those of today.
    std::fs::copy(&backup, &file).unwrap();
    let said = world.server.refusal_to_start(&database, &[]);
    assert!(said.contains(&format!("holds {size} entries")), "{said}");
    assert!(
        said.contains(&format!("a head of {signed} was signed")),
        "{said}"
    );
    std::fs::rename(
        world.server.folder().join("head"),
        world.server.folder().join("head.lost"),
    )
    .unwrap();
    world.server.restart_with(&database, &[]);
    // The head that was kept shows auditors that the log does not grow out of it; one of today agrees.
    let export = String::from_utf8(world.server.run(&["audit", "export"]).stdout).unwrap();
    let export = world.server.file("export.jsonl", &export);
    for (name, agrees) in [("head.lost", false), ("head", true)] {
        let kept = world.server.folder().join(name);
        let kept = kept.to_str().unwrap();
        let verified = world
            .server
            .run(&["audit", "verify", &export, "--head", kept]);
        assert_eq!(verified.status.code() == Some(0), agrees, "{name}");
        assert!(verified.status.code() < Some(2), "{name}");
    }
    // It says so in the log, and no verdict of then counts.
    let entries = world.server.audit_entries();
    let resumed = entries.iter().find(|entry| entry["kind"] == "log-resumed");
    assert_eq!(resumed.unwrap()["size"], size);
    let (admitted, why) = world.server.place("u2", "node-de-1").await;
    assert!(!admitted && why.contains("restored"), "{why}");
    assert_eq!(host.attest(&world.server).unwrap()["tier"], "affirming");
    assert!(world.server.place("u3", "node-de-1").await.0);
    // Once is enough: the next start goes on from its own head.
    world.server.restart_with(&database, &[]);
    assert!(world.server.place("u4", "node-de-1").await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_to_a_database_that_went_back_under_a_running_attestor() {
    let (database, maker) = (Database::postgres(), Maker::new());
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    let ready = || world.server.send(Method::GET, "/readyz", None, None);
    assert_eq!(ready().await.0, StatusCode::OK);
    // A standby that lagged behind, as an attestor sees it.
    let size = database.count("entries");
    database.execute(
        "CREATE TABLE older AS SELECT * FROM tree;
         UPDATE tree SET size = size - 1;
         DELETE FROM entries WHERE idx >= (SELECT size FROM tree)",
    );
    let begun = Instant::now();
    loop {
        let (status, problem) = ready().await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(code(&problem), "log-diverged");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "never found out");
    }
    assert!(!world.server.admits("u1", "node-de-1").await);
    assert!(host.attest(&world.server).is_err());
    // Not even when it is as it was: somebody has to look, and start it.
    assert_eq!(database.count("entries"), size - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lagged_behind_gets_nothing_written_not_even_at_once() {
    let (database, maker) = (Database::postgres(), Maker::new());
    let world = World::start(&database, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    database.cluster().keep_copy();
    let older = database.count("entries");
    until(&world.server, "").await;
    // Sealed, signed for an auditor, and not at the standby.
    assert_eq!(host.attest(&world.server).unwrap()["tier"], "affirming");
    assert_eq!(world.server.audit_entries().len() as u64, older + 1);
    let cluster = database.clone();
    let failover = tokio::task::spawn_blocking(move || cluster.cluster().fail_over());
    // All the while somebody wants something written.
    let operator = world.server.operator();
    let token = operator["token"].as_str();
    let mapping = json!({ "node": "node-de-1", "host": "de-1" });
    let mut refused = 0;
    while code_of_ready(&world.server).await != "log-diverged" {
        let asked = world
            .server
            .send(Method::POST, "/v1/nodes", token, Some(&mapping));
        let (status, said) = asked.await;
        if failover.is_finished() {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{said}");
            refused += 1;
        }
    }
    failover.await.unwrap();
    assert!(refused > 0);
    assert!(!world.server.admits("u1", "node-de-1").await);
    assert!(host.attest(&world.server).is_err());
    assert_eq!(database.count("entries"), older);
}

/// The code of `/readyz`; empty: it is ready.
async fn code_of_ready(server: &Server) -> String {
    let (_, said) = server.send(Method::GET, "/readyz", None, None).await;
    let kind = said["type"].as_str().unwrap_or_default();
    kind.trim_start_matches("touchstone:").to_owned()
}

async fn until(server: &Server, code: &str) {
    let begun = Instant::now();
    while code_of_ready(server).await != code {
        assert!(begun.elapsed() < Duration::from_secs(20), "never `{code}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attestor_whose_database_is_away_says_so() {
    let (database, maker) = (Database::postgres(), Maker::new());
    let way = touchstone_tests::proxy::Proxy::to(database.port());
    let world = World::start(&database, &maker);
    let other = world.server.replica(&database.url_at(way.port));
    let ready = || other.send(Method::GET, "/readyz", None, None);
    assert_eq!(ready().await.0, StatusCode::OK);
    way.cut();
    let begun = Instant::now();
    let problem = loop {
        let (status, problem) = ready().await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            break problem;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "never found out");
    };
    assert_eq!(code(&problem), "database-unavailable");
    // It lives: only what needs the database does not.
    let (status, _) = other.send(Method::GET, "/healthz", None, None).await;
    assert_eq!(status, StatusCode::OK);
    way.mend();
    let begun = Instant::now();
    while ready().await.0 != StatusCode::OK {
        assert!(begun.elapsed() < Duration::from_secs(20), "never again");
    }
}
