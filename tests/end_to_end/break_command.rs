//! `tpm-sim break`: its exit code is what a developer's pipeline goes by.

use std::process::Output;

use serde_json::Value;
use touchstone_tests::database::Database;
use touchstone_tests::programs;
use touchstone_tests::server::Server;
use touchstone_tests::world::sample_policy;

fn tell(arguments: &[&str]) -> Output {
    programs::command(&programs::path("tpm-sim"))
        .arg("break")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn an_attestor_of_its_own_catches_every_lie() {
    let output = tell(&["--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let lies = shown["lies"].as_array().unwrap();
    let wrong: Vec<_> = lies
        .iter()
        .filter(|lie| lie["as_expected"] != true)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(output.status.success());
    assert!(lies.iter().any(|lie| lie["id"] == "L6h"), "{said}");
    eprintln!("{} lies told", lies.len());
}

/// Another verifier is one that only gives a join token; here it is an attestor that runs already.
#[test]
fn machines_that_were_made_before_tell_their_lies_to_whoever_knows_them() {
    let server = Server::start(&Database::Sqlite);
    server.command(&["policy", "apply", &sample_policy()]);
    let folder = tempfile::tempdir().unwrap();
    let cast = folder.path().to_str().unwrap();
    let output = tell(&["--cast", cast]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("liar-1, with a place"), "{said}");
    assert!(!said.contains("stranger-1"), "{said}");

    // Nobody knows them yet: that is no lie that was caught.
    let token = folder.path().join("token");
    let token = token.to_str().unwrap();
    server.command(&["join-token", "create", "--out", token]);
    let output = tell(&["--cast", cast, "--join-token", token, "Q1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("liar-1"),
        "{said}"
    );

    let operator = server.folder().join("operator.json");
    let output = tell(&[
        "--cast",
        cast,
        "--operator",
        operator.to_str().unwrap(),
        "Q1",
    ]);
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
    // The sample policy does not demand the runtime, so what is told about it would not show.
    let output = tell(&["--cast", cast, "--join-token", token, "L6"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("left out"),
        "{said}"
    );
    let output = tell(&["--cast", cast, "--join-token", token, "L", "--any-code"]);
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn an_attestor_at_which_it_would_not_end_is_left_as_it_is() {
    let server = Server::start(&Database::Sqlite);
    let operator = server.folder().join("operator.json");
    let arguments = ["--operator", operator.to_str().unwrap(), "Q1"];
    let output = tell(&arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("policy apply"),
        "{said}"
    );
    let roots = server.command(&["endorsement", "list"]);
    assert_eq!(roots["roots"], Value::Array(Vec::new()));
    let digest = "00".repeat(32);
    server.command(&["policy", "apply", &sample_policy()]);
    server.command(&[
        "inventory",
        "add",
        "--host",
        "liar-2",
        "--ek-digest",
        &digest,
    ]);
    let output = tell(&arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("liar-2"),
        "{said}"
    );
    assert_eq!(
        server.command(&["endorsement", "list"])["roots"],
        roots["roots"]
    );
}

#[test]
fn a_folder_without_machines_is_no_cast() {
    let folder = tempfile::tempdir().unwrap();
    let typo = folder.path().join("typo");
    let output = tell(&["--cast", typo.to_str().unwrap(), "--join-token", "token"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("make them first"),
        "{said}"
    );
    assert!(!typo.exists());
}

#[test]
fn a_lie_that_is_not_there_is_named() {
    for ids in [&["Z9"][..], &["--list", "Q1", "Z9"]] {
        let output = tell(ids);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("Z9"), "{said}");
    }
}
