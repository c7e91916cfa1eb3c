//! The same three hosts at two servers, one on each database: the same tiers, findings and entries.

use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};

/// What must not depend on the database.
async fn observed(world: &World, hosts: &[Host]) -> Value {
    let mut views = Vec::new();
    for host in hosts {
        let view = world.server.get(&format!("/v1/hosts/{}", host.name)).await;
        views.push(json!({
            "host": view["host"], "tier": view["tier"], "place": view["place"],
            "vector": view["vector"], "findings": view["findings"], "policy": view["policy"],
        }));
    }
    let kinds: Vec<Value> = world
        .server
        .audit_entries()
        .iter()
        .map(|entry| entry["kind"].clone())
        .collect();
    json!({ "hosts": views, "entries": kinds })
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_and_postgresql_lead_to_the_same_verdicts_and_entries() {
    let maker = Maker::new();
    let hosts = [
        Host::boot(&maker.authority, "de-1", Profile::Healthy),
        Host::boot(&maker.authority, "us-1", Profile::Healthy),
        Host::boot(&maker.authority, "de-2", Profile::Altered),
    ];
    let mut results = Vec::new();
    for database in Database::both() {
        let world = World::start(&database, &maker);
        for (host, country) in hosts.iter().zip(["DE", "US", "DE"]) {
            world.join(host, Some(country)).await;
            world
                .server
                .place(
                    &format!("uid-{}", host.name),
                    &format!("node-{}", host.name),
                )
                .await;
        }
        eprintln!(
            "{}: {} entries",
            database.name(),
            world.server.audit_entries().len()
        );
        results.push(observed(&world, &hosts).await);
    }
    assert_eq!(results[0], results[1]);
    let tiers: Vec<&Value> = results[0]["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| &h["tier"])
        .collect();
    assert_eq!(tiers, ["affirming", "affirming", "contraindicated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_told_with_what_to_look_at() {
    let mut server = Server::start(&Database::Sqlite);
    server.stop();
    let folder = server.folder().display().to_string();
    let file = server.file("text", "this is no database, and long enough to tell it");
    for (url, parts) in [
        (
            format!("sqlite:{folder}/nowhere/t.db"),
            ["/nowhere/t.db` does not open", "its folder is not there"],
        ),
        (
            format!("sqlite:{file}"),
            ["text` does not open", "see that it is a database of SQLite"],
        ),
        (
            "postgres://anna:hush@127.0.0.1:1/fleet".to_owned(),
            [
                "PostgreSQL at `127.0.0.1:1` did not let user `anna` in",
                "see that it runs",
            ],
        ),
        (
            "postgres://anna:hush@127.0.0.1:port/fleet".to_owned(),
            [
                "the URL of the database does not read",
                "USER:PASSWORD@HOST",
            ],
        ),
        (
            "mysql://anna:hush@127.0.0.1/fleet".to_owned(),
            ["the kind `mysql` are not known", "sqlite:FILE"],
        ),
    ] {
        let said = server.refusal_to_start(&Database::Sqlite, &["--database", &url]);
        for part in parts {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
        assert!(!said.contains("hush"), "{said}");
    }
}
