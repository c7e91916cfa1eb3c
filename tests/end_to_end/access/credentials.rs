//! Credentials: whose they are, when they end, and which cannot be given or taken.

use reqwest::{Method, StatusCode};
use serde_json::json;
use touchstone_attestor::role::Role;
use touchstone_evidence::wire::JoinToken;
use touchstone_tests::database::Database;
use touchstone_tests::liar::Liar;
use touchstone_tests::server::{Server, send};
use touchstone_tests::slow::Slow;
use touchstone_tests::world::healthy_host;

use super::callers::{credential, token_of, with_pem};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_says_whose_credential_it_was() {
    let (world, _host, _maker) = healthy_host().await;
    let officer = credential(&world, "anna", Role::Officer, true);
    let ca = world.server.operator()["ca"].as_str().unwrap().to_owned();
    let manifests = std::fs::read_to_string(touchstone_tests::world::sample_policy()).unwrap();
    let url = format!("{}/v1/policies", world.server.url);
    let body = json!({ "manifests": manifests });
    let client = with_pem(&ca, &officer);
    let (status, answer) = send(&client, Method::PUT, &url, None, Some(&body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    world.server.command(&["credential", "revoke", "anna"]);
    // Once more changes nothing, and writes nothing.
    world.server.command(&["credential", "revoke", "anna"]);
    let (status, _) = send(&client, Method::PUT, &url, None, Some(&body)).await;
    assert_eq!(
        status,
        StatusCode::UNAUTHORIZED,
        "over a connection that was let in before"
    );

    let entries = world.server.audit_entries();
    let told = entries.iter().map(|entry| {
        let word = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        (word("kind"), word("actor"), word("credential"))
    });
    let told: Vec<_> = told
        .filter(|(kind, ..)| kind.starts_with("credential") || kind == "policy-applied")
        .collect();
    let due = [
        ("credential-created", "attestor", "-"),
        ("policy-applied", "operator", "operator"),
        ("credential-created", "operator", "operator"),
        ("policy-applied", "officer", "anna"),
        ("credential-revoked", "operator", "operator"),
    ];
    let due = due.map(|(kind, actor, name)| (kind.to_owned(), actor.to_owned(), name.to_owned()));
    assert_eq!(told, due);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_revoked_while_the_body_comes_is_none() {
    let (world, _host, _maker) = healthy_host().await;
    let made = credential(&world, "second", Role::Operator, false);
    let operator = world.server.operator();
    let shown = JoinToken {
        server: world.server.url.clone(),
        ca: operator["ca"].as_str().unwrap().to_owned(),
        secret: token_of(&made),
    };
    let key = touchstone_agent::tls::TlsKey::generate().unwrap();
    let late = Slow::join(&shown, &key, "/v1/inventory");
    world.server.command(&["credential", "revoke", "second"]);
    let machine = json!({ "host": "de-9", "ek_digests": ["00".repeat(32)] });
    let answer = late.send(machine.to_string().as_bytes());
    assert!(answer.contains("unauthenticated"), "{answer}");
    let listed = world.server.command(&["inventory", "list"]);
    assert!(!listed.to_string().contains("de-9"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_key_is_nobody_elses() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let key = liar.identity.keys.tls.digest().unwrap().to_string();
    let allow = [
        "credential",
        "allow",
        "de-1",
        "--role",
        "auditor",
        "--tls-key",
        &key,
    ];
    assert_eq!(world.server.refusal(&allow), "credential-taken");
}

#[test]
fn the_last_operator_cannot_be_locked_out() {
    let server = Server::start(&Database::under_test());
    let path = server.folder().join("second.json");
    let out = path.to_str().unwrap();
    let create = [
        "credential",
        "create",
        "second",
        "--role",
        "operator",
        "--out",
        out,
    ];
    assert_eq!(
        server.refusal(&["credential", "revoke", "operator"]),
        "credential-last-operator"
    );
    server.command(&create);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(server.refusal(&create), "credential-taken");
    assert_eq!(
        server.refusal(&["credential", "revoke", "third"]),
        "credential-unknown"
    );
    server.command(&["credential", "revoke", "operator"]);
    assert_eq!(server.refusal(&["credential", "list"]), "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_credential_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (world, _host, _maker) = healthy_host().await;
    let path = world.server.folder().join("operator.json");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = world.server.run(&["host", "list"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("chmod 600"), "{said}");
}
