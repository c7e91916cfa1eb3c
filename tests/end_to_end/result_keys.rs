//! The key that signs results: its exchange, its revocation, and what is cut off between.

use std::time::{Duration, Instant};

use serde_json::Value;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World, healthy_host};

fn states(server: &Server) -> Vec<(String, String)> {
    let listed = server.command(&["keys"]);
    let keys = listed["result_keys"].as_array().unwrap().iter();
    let word = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    keys.map(|key| (word(key, "id"), word(key, "state")))
        .collect()
}

fn kid(server: &Server, host: &str) -> String {
    let token = server.command(&["host", "result", host]);
    let token = token["result"].as_str().unwrap().to_owned();
    jsonwebtoken::decode_header(&token).unwrap().kid.unwrap()
}

fn said(server: &Server, arguments: &[&str]) -> String {
    String::from_utf8(server.run(arguments).stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_key_is_exchanged_and_its_results_count_until_it_is_revoked() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    let first = kid(server, "de-1");
    assert_eq!(
        server.refusal(&["keys", "revoke", &first]),
        "result-key-in-use"
    );
    assert_eq!(
        server.refusal(&["keys", "revoke", "0"]),
        "result-key-unknown"
    );
    let second = server.command(&["keys", "rotate", "result"]);
    let second = second["id"].as_str().unwrap().to_owned();
    let state = |id: &str, state: &str| (id.to_owned(), state.to_owned());
    let both = [state(&second, "current"), state(&first, "retired")];
    assert_eq!(states(server), both);
    assert_eq!(kid(server, "de-1"), first, "what it signed still verifies");

    server.command(&["keys", "revoke", &first]);
    assert!(said(server, &["host", "result", "de-1"]).contains("was revoked"));
    host.attest(server).unwrap();
    assert_eq!(kid(server, "de-1"), second);
    let both = [state(&second, "current"), state(&first, "revoked")];
    assert_eq!(states(server), both);

    let entries = server.audit_entries();
    let told = entries.iter().filter_map(|entry| {
        let kind = entry["kind"].as_str().unwrap();
        let key = entry["key"].as_str().unwrap_or_default();
        kind.strip_prefix("result-key-")
            .map(|kind| (kind, key, entry["actor"].as_str().unwrap()))
    });
    let due = [
        ("added", first.as_str(), "attestor"),
        ("added", second.as_str(), "operator"),
        ("revoked", first.as_str(), "operator"),
    ];
    assert_eq!(told.collect::<Vec<_>>(), due);
}

#[test]
fn an_attestor_signs_with_no_key_that_its_database_does_not_know() {
    let database = Database::under_test();
    let mut server = Server::start(&database);
    let file = server.folder().join("result.key");
    let first = std::fs::read(&file).unwrap();
    server.command(&["keys", "rotate", "result"]);
    let known = states(&server);
    server.stop();
    let second = std::fs::read(&file).unwrap();
    assert_ne!(first, second);

    std::fs::write(&file, "7".repeat(64)).unwrap();
    let refused = server.refusal_to_start(&database, &[]);
    assert!(
        refused.contains("not a key that the database knows"),
        "{refused}"
    );
    // A key that took another's place and was not exchanged everywhere: it goes on until it is revoked.
    std::fs::write(&file, &first).unwrap();
    server.restart_with(&database, &[]);
    server.command(&["keys", "revoke", &known[1].0]);
    server.stop();
    let refused = server.refusal_to_start(&database, &[]);
    assert!(refused.contains("was revoked"), "{refused}");
}

#[test]
fn an_exchange_that_was_cut_off_is_ended_by_the_next_start() {
    let database = Database::under_test();
    let mut server = Server::start(&database);
    let (file, next) = (
        server.folder().join("result.key"),
        server.folder().join("result.key.next"),
    );
    let first = std::fs::read(&file).unwrap();
    server.command(&["keys", "rotate", "result"]);
    let known = states(&server);
    server.stop();

    // Before the commit: nobody heard of the key.
    server.write_private(&next, "7".repeat(64).as_bytes());
    server.restart_with(&database, &[]);
    assert!(!next.exists());
    server.stop();
    // After it: everybody did.
    let second = std::fs::read(&file).unwrap();
    std::fs::rename(&file, &next).unwrap();
    server.write_private(&file, &first);
    server.restart_with(&database, &[]);
    assert!(!next.exists());
    assert_eq!(std::fs::read(&file).unwrap(), second);
    assert_eq!(states(&server), known);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_at_one_replica_signs_nothing_at_another() {
    let (database, maker) = (Database::postgres(), Maker::new());
    let world = World::start(&database, &maker);
    let other = world.server.replica(&database.url().unwrap());
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.join(&host, Some("DE")).await;
    world.server.command(&["keys", "rotate", "result"]);
    let first = states(&world.server)[1].0.clone();
    let at_other = Liar::take(&host, &world.server).await.at(&other);
    at_other.lie(|_| ()).await.unwrap();
    assert_eq!(kid(&other, "de-1"), first, "it has the old key still");
    world.server.command(&["keys", "revoke", &first]);
    let begun = Instant::now();
    let refused = loop {
        match at_other.lie(|_| ()).await {
            Err(refused) => break refused,
            Ok(_) => assert!(begun.elapsed() < Duration::from_secs(10)),
        }
    };
    assert_eq!(refused, "result-key-revoked");
    host.attest(&world.server).unwrap();
}
