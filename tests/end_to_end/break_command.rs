//! `tpm-sim break`: its exit code is what a developer's pipeline goes by.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use touchstone_tests::database::Database;
use touchstone_tests::programs;
use touchstone_tests::server::Server;
use touchstone_tests::world::sample_policy;

fn tell(arguments: &[&str]) -> Output {
    tell_with(None, arguments)
}

/// As somebody who has exported this variable for other commands.
fn tell_with(exported: Option<&Path>, arguments: &[&str]) -> Output {
    let mut command = programs::command(&programs::path("tpm-sim"));
    if let Some(operator) = exported {
        command.env("TOUCHSTONE_OPERATOR", operator);
    }
    command.arg("break").args(arguments).output().unwrap()
}

/// The environment once chose whom lies were told to.
#[test]
fn an_attestor_of_its_own_catches_every_lie_whatever_was_exported() {
    let output = tell_with(Some(Path::new("/nowhere/operator.json")), &["--json"]);
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
    let server = Server::start(&Database::under_test());
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
    let operator = server.folder().join("operator.json");
    let output = tell_with(
        Some(&operator),
        &["--cast", cast, "--join-token", token, "Q1"],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("liar-1"),
        "{said}"
    );
    assert!(said.starts_with("lying to https://"), "{said}");

    let output = tell(&[
        "--cast",
        cast,
        "--operator",
        operator.to_str().unwrap(),
        "Q1",
    ]);
    assert!(output.stderr.starts_with(b"lying to https://"));
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
    let two = format!(
        "{}---\napiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata:\n  name: second\nspec:\n  \
         hosts: [runtime-1]\n  freshnessSeconds: 300\n  runtime:\n    violations: refused\n",
        std::fs::read_to_string(sample_policy()).unwrap()
    );
    apply(&server, &two);
    let output = tell(&["--cast", cast, "--join-token", token, "L6"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("host-policy-ambiguous"), "{said}");
    let output = tell(&["--cast", cast, "--join-token", token, "L", "--any-code"]);
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

fn apply(server: &Server, manifests: &str) {
    let file = server.folder().join("lies.yaml");
    std::fs::write(&file, manifests).unwrap();
    server.command(&["policy", "apply", file.to_str().unwrap()]);
}

/// As docs/break.md says.
#[test]
fn under_the_policy_that_it_prints_none_is_left_out() {
    let server = Server::start(&Database::under_test());
    let policy = tell(&["--policy"]);
    assert!(policy.status.success());
    apply(&server, std::str::from_utf8(&policy.stdout).unwrap());
    let operator = server.folder().join("operator.json");
    let output = tell(&["--operator", operator.to_str().unwrap(), "L6"]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("L6h"), "{said}");
    assert!(!said.contains("are left out"), "{said}");
}

#[test]
fn a_credential_that_is_not_there_is_named_with_what_to_do() {
    for arguments in [
        &["break", "--operator", "nofile"][..],
        &["review", "worker-1", "--operator", "nofile"],
    ] {
        let output = programs::command(&programs::path("tpm-sim"))
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("`nofile`; name with --operator the `operator.json`"),
            "{said}"
        );
    }
}

#[test]
fn a_review_that_nobody_answers_says_where_it_was_sent_and_what_to_start() {
    let mut server = Server::start(&Database::under_test());
    server.stop();
    let operator = server.folder().join("operator.json");
    let output = programs::command(&programs::path("tpm-sim"))
        .args(["review", "worker-1", "--operator"])
        .arg(operator)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let begin = format!("no answer from the attestor at {} with the CA", server.url);
    assert!(said.contains(&begin), "{said}");
    assert!(
        said.contains("see that `touchstone serve` runs there"),
        "{said}"
    );
    let webhook = server.operator()["webhook"].as_str().unwrap().to_owned();
    let secret = webhook.rsplit('/').next().unwrap();
    assert!(!said.contains(secret), "{said}");
}

#[test]
fn a_reader_that_leaves_the_list_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = programs::command(&programs::path("tpm-sim"))
        .args(["break", "--list"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*said), (Some(0), ""));
}

#[test]
fn an_attestor_at_which_it_would_not_end_is_left_as_it_is() {
    let server = Server::start(&Database::under_test());
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
