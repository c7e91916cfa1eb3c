//! The log's key is exchanged: who pinned the old one verifies on, the old one signs nothing more, and an exchange
//! that breaks off at any step comes to its end.

use std::fs;
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World, sample_policy};

/// The steps of an exchange, and whether the log is at the new key after each.
const STEPS: [(&str, bool); 4] = [
    ("keymade", false),
    ("keynamed", true),
    ("handedover", true),
    ("overwritten", true),
];

const ROTATE: [&str; 3] = ["keys", "rotate", "checkpoint"];

fn key_of(server: &Server) -> String {
    let keys = server.command(&["keys"]);
    keys["checkpoint_key"].as_str().unwrap().to_owned()
}

/// Exports the log to a file of this name.
fn export(server: &Server, name: &str) -> String {
    let output = server.run(&["audit", "export"]);
    assert!(output.status.success());
    server.file(name, &String::from_utf8(output.stdout).unwrap())
}

/// What `audit verify` says, and its exit code.
fn verify(server: &Server, file: &str, key: &str) -> (Value, Option<i32>) {
    let output = server.run(&["audit", "verify", file, "--key", key]);
    let said = serde_json::from_slice(&output.stdout).unwrap();
    (said, output.status.code())
}

fn exchanges(server: &Server) -> usize {
    let entries = server.audit_entries();
    let kinds = entries.iter().map(|entry| &entry["kind"]);
    kinds
        .filter(|kind| *kind == "checkpoint-key-rotated")
        .count()
}

fn key_file(server: &Server) -> std::path::PathBuf {
    server.folder().join("checkpoint.key")
}

/// No key but the one in force is in the folder.
fn alone(server: &Server) -> bool {
    !server.folder().join("checkpoint.key.next").exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_two_exchanges_each_of_the_three_keys_verifies_the_log() {
    for database in Database::both() {
        let server = Server::start(&database);
        let mut keys = vec![key_of(&server)];
        let first = export(&server, "before.jsonl");
        let (kept, _) = verify(&server, &first, &keys[0]);
        for _ in 0..2 {
            let done = server.command(&ROTATE);
            assert_eq!(done["replaced"], keys[keys.len() - 1].as_str());
            keys.push(done["checkpoint_key"].as_str().unwrap().to_owned());
            assert_eq!(key_of(&server), keys[keys.len() - 1]);
            assert!(alone(&server));
            server.command(&["policy", "apply", &sample_policy()]);
        }
        // One name, three keys.
        let names: Vec<&str> = keys
            .iter()
            .map(|key| key.split('+').next().unwrap())
            .collect();
        assert!(names.iter().all(|name| *name == names[0]));
        let last = export(&server, "after.jsonl");
        for key in &keys {
            let (said, code) = verify(&server, &last, key);
            assert_eq!((code, &said["key"]), (Some(0), &json!(keys[2])), "{said}");
            let held: Vec<&Value> = said["keys"].as_array().unwrap().iter().collect();
            for (held, key) in held.iter().zip(&keys) {
                assert_eq!(held["key"], key.as_str());
            }
            assert_eq!(held.len(), 3);
            documented_program(&server, &last, key, true);
        }
        // The head from before both exchanges is met, and the export from before verifies by the key of then alone.
        let head = format!("{}:{}", kept["size"], kept["root"].as_str().unwrap());
        let met = ["audit", "verify", &last, "--key", &keys[0], "--head", &head];
        assert_eq!(server.command(&met)["earlier_heads"], 1);
        assert_eq!(verify(&server, &first, &keys[0]).1, Some(0));
        assert_eq!(verify(&server, &first, &keys[1]).1, Some(1));
        // Another log's key.
        let other = key_of(&Server::start(&Database::Sqlite));
        assert_eq!(verify(&server, &last, &other).1, Some(1));
        documented_program(&server, &last, &other, false);
        // Without the second handover: it says at which exchange.
        let text = fs::read_to_string(&last).unwrap();
        let at = text.rfind("{\"handover\"").unwrap();
        let end = at + text[at..].find('\n').unwrap() + 1;
        let without = server.file("without.jsonl", &format!("{}{}", &text[..at], &text[end..]));
        for key in &keys {
            let (said, code) = verify(&server, &without, key);
            let why = said["error"].as_str().unwrap();
            assert!(why.starts_with("exchange 2 of the log's key"), "{why}");
            assert_eq!(code, Some(1));
            documented_program(&server, &without, key, false);
        }
    }
}

/// Runs the program of docs/auditors.md.
fn documented_program(server: &Server, file: &str, key: &str, verifies: bool) {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/auditors.md");
    let docs = fs::read_to_string(docs).unwrap();
    let (_, program) = docs.split_once("```python\n").unwrap();
    let program = server.file("check.py", program.split("```").next().unwrap());
    let output = Command::new("python3").args([&program, file, key]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), verifies, "{said}");
    assert_eq!(said.contains("AssertionError"), !verifies, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_twice_gets_one_exchange() {
    let server = Server::start(&Database::Sqlite);
    let token = server.operator()["token"].as_str().unwrap().to_owned();
    let from = json!({ "from": key_of(&server) });
    let post = || {
        let path = "/v1/keys/checkpoint/rotate";
        server.send(Method::POST, path, Some(&token), Some(&from))
    };
    // At once, and after that.
    let (one, two) = tokio::join!(post(), post());
    let statuses = [one.0, two.0];
    assert!(statuses.contains(&StatusCode::OK) && statuses.contains(&StatusCode::CONFLICT));
    let (status, problem) = post().await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["type"], "touchstone:checkpoint-key-not-current");
    assert_eq!(exchanges(&server), 1);
    // Whoever did it is named.
    let entries = server.audit_entries();
    let entry = entries
        .iter()
        .find(|entry| entry["kind"] == "checkpoint-key-rotated")
        .unwrap();
    assert_eq!(
        (&entry["actor"], &entry["credential"]),
        (&json!("operator"), &json!("operator"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attestor_with_the_old_key_file_does_not_start() {
    let database = Database::Sqlite;
    let mut server = Server::start(&database);
    let old = fs::read(key_file(&server)).unwrap();
    let done = server.command(&ROTATE);
    let new = fs::read(key_file(&server)).unwrap();
    server.stop();
    fs::write(key_file(&server), &old).unwrap();
    let said = server.refusal_to_start(&database, &[]);
    let at = format!(
        "is at the key `{}` since its entry {}",
        done["checkpoint_key"].as_str().unwrap(),
        done["entry"]
    );
    assert!(said.contains(&at), "{said}");
    fs::write(key_file(&server), &new).unwrap();
    server.restart_with(&database, &[]);
    assert_eq!(key_of(&server), done["checkpoint_key"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_the_old_key_signs_no_head_until_it_has_the_new_one() {
    let (database, maker) = (Database::postgres(), Maker::new());
    let world = World::start(&database, &maker);
    let mut other = world.server.replica(&database.url().unwrap());
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    let first = key_of(&other);
    let done = world.server.command(&ROTATE);
    for command in [&["audit", "checkpoint"][..], &["audit", "export"], &ROTATE] {
        assert_eq!(other.refusal(command), "checkpoint-key-exchanged");
    }
    // It does all that needs no head.
    let there = Liar::take(&host, &world.server).await.at(&other);
    assert!(there.lie(|_| ()).await.is_ok());
    other.command(&["node", "map", "node-2", "de-1"]);
    assert_eq!(exchanges(&world.server), 1);

    fs::copy(key_file(&world.server), key_file(&other)).unwrap();
    other.restart_with(&database, &[]);
    let file = export(&other, "there.jsonl");
    let (said, code) = verify(&other, &file, &first);
    assert_eq!((code, &said["key"]), (Some(0), &done["checkpoint_key"]));
    // And exchanges it itself, which the first one learns.
    other.command(&ROTATE);
    assert_eq!(
        world.server.refusal(&["audit", "checkpoint"]),
        "checkpoint-key-exchanged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_breaks_off_at_any_step_comes_to_its_end() {
    for database in Database::both() {
        let mut server = Server::start(&database);
        let first = key_of(&server);
        for (step, exchanged) in STEPS {
            let (before, count) = (key_of(&server), exchanges(&server));
            server.stop();
            server.restart_to_die(&database, &format!("{step}:1"));
            assert!(!server.run(&ROTATE).status.success(), "{step}");
            // The start ends it, whatever is left to do.
            server.restart_to_die(&database, "never:0");
            assert_eq!(key_of(&server) != before, exchanged, "{step}");
            assert_eq!(exchanges(&server), count + usize::from(exchanged), "{step}");
            // A key that nothing names stays until the next exchange.
            assert_eq!(alone(&server), exchanged, "{step}");
            let file = export(&server, "export.jsonl");
            let (said, code) = verify(&server, &file, &first);
            assert_eq!(code, Some(0), "{step}: {said}");
            assert_eq!(said["key"], key_of(&server).as_str());
            // And the next one is as any other.
            server.command(&ROTATE);
            assert!(alone(&server), "{step}");
        }
        let file = export(&server, "export.jsonl");
        let (said, code) = verify(&server, &file, &first);
        assert_eq!(code, Some(0), "{said}");
        // Three that broke off, four that did not, and the key of the beginning.
        assert_eq!(said["keys"].as_array().unwrap().len(), 8);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_folder_amid_an_exchange_makes_the_same_handover() {
    let database = Database::postgres();
    let mut server = Server::start(&database);
    let first = key_of(&server);
    server.stop();
    server.restart_to_die(&database, "keynamed:1");
    assert!(!server.run(&ROTATE).status.success());
    // The copy starts first, and ends what the other one began.
    let copy = server.replica(&database.url().unwrap());
    let made = export(&copy, "copy.jsonl");
    assert_eq!(verify(&copy, &made, &first).1, Some(0));
    server.restart_to_die(&database, "never:0");
    assert_eq!(key_of(&server), key_of(&copy));
    assert!(alone(&server) && alone(&copy));
    let handover = |file: &str| {
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines();
        lines
            .find(|line| line.contains("handover"))
            .map(str::to_owned)
    };
    let again = export(&server, "again.jsonl");
    assert!(handover(&made).is_some());
    assert_eq!(handover(&made), handover(&again));
}
