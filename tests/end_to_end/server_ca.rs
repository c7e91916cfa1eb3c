//! The attestor's CA: its exchange, what is cut off between, and what no host keeps.

use std::process::Stdio;

use serde_json::Value;
use touchstone_tests::daemon::Daemon;
use touchstone_tests::host::Host;
use touchstone_tests::server::Server;
use touchstone_tests::world::healthy_host;

const ACTIVATE: [&str; 3] = ["keys", "activate", "ca"];

fn told(server: &Server) -> String {
    server.command(&["keys"])["ca"].as_str().unwrap().to_owned()
}

fn kept(host: &Host, server: &Server) -> String {
    let file = host.settings(server).state.join("identity.json");
    let identity: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    identity["ca"].as_str().unwrap().to_owned()
}

/// One round of an agent that logs: its exit code, and what it logged.
fn round(host: &Host, server: &Server) -> (Option<i32>, String) {
    let mut command = host.agent_command(server, &["attest", "--once"]);
    command.stdout(Stdio::null());
    Daemon::start(command).end()
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_join_tokens_and_the_log_follow_an_exchange() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    assert_eq!(server.refusal(&ACTIVATE), "ca-not-announced");
    let anna = server.folder().join("anna.json");
    let anna = anna.to_str().unwrap();
    let create = ["credential", "create", "anna", "--role", "auditor"];
    server.command(&[&create[..], &["--out", anna]].concat());
    let first = told(server);

    let announced = server.command(&["keys", "rotate", "ca"]);
    let both = told(server);
    assert_eq!(both.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(both.starts_with(&first));
    assert_eq!(server.operator()["ca"], both.as_str());
    assert_eq!(server.command(&["keys", "rotate", "ca"]), announced);
    server.command(&["--operator", anna, "credential", "refresh"]);
    let refused = String::from_utf8(server.run(&ACTIVATE).stderr).unwrap();
    assert!(
        refused.contains("1 of 1") && refused.contains("de-1"),
        "{refused}"
    );
    // The first round learns it, the second one says so.
    host.attest(server).unwrap();
    assert_eq!(kept(&host, server), both);
    assert_eq!(server.refusal(&ACTIVATE), "ca-overlap-short");
    host.attest(server).unwrap();
    server.command(&ACTIVATE);

    let second = told(server);
    assert_eq!(both, first + &second);
    assert_eq!(server.operator()["ca"], second.as_str());
    server.command(&["--operator", anna, "keys"]);
    host.attest(server).unwrap();
    assert_eq!(kept(&host, server), second);
    host.attest(server).unwrap();

    let entries = server.audit_entries().into_iter();
    let told: Vec<(String, String)> = entries
        .filter(|entry| entry["kind"].as_str().unwrap().starts_with("ca-"))
        .map(|entry| {
            let word = |name: &str| entry[name].as_str().unwrap().to_owned();
            (word("kind"), word("ca"))
        })
        .collect();
    let next = announced["next_ca"].as_str().unwrap();
    let due = ["ca-announced", "ca-activated"].map(|kind| (kind.to_owned(), next.to_owned()));
    assert_eq!(told, due);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_the_ca_that_was_cut_off_leaves_one_pair_in_force() {
    let (mut world, host, _maker) = healthy_host().await;
    let database = world.server.database();
    let server = &mut world.server;
    let file = |server: &Server, name: &str| server.folder().join(name);
    let first = told(server);

    // An announcement that nobody heard of.
    server.stop();
    let key = std::fs::read(file(server, "ca.key")).unwrap();
    server.write_private(&file(server, "ca.key.next"), &key);
    server.restart_with(&database, &[]);
    assert!(!file(server, "ca.key.next").exists());
    assert_eq!(told(server), first);

    // One that was heard of stays over a start.
    server.command(&["keys", "rotate", "ca"]);
    let both = told(server);
    server.restart_with(&database, &[]);
    assert_eq!(told(server), both);
    host.attest(server).unwrap();

    // Between the two files of an activation.
    server.stop();
    std::fs::rename(file(server, "ca.key.next"), file(server, "ca.key")).unwrap();
    server.restart_with(&database, &[]);
    assert!(!file(server, "ca.pem.next").exists());
    assert_eq!(both, first.clone() + &told(server));
    host.attest(server).unwrap();
    assert_eq!(kept(&host, server), told(server));

    // Files that do not belong together.
    server.stop();
    server.write_private(&file(server, "ca.pem"), first.as_bytes());
    let refused = server.refusal_to_start(&database, &[]);
    assert!(
        refused.contains("not the certificate of the CA key"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_keeps_no_bundle_that_holds_more_than_cas_or_is_too_large() {
    let (mut world, host, _maker) = healthy_host().await;
    let database = world.server.database();
    let server = &mut world.server;
    let first = kept(&host, server);
    server.command(&["keys", "rotate", "ca"]);
    let file = server.folder().join("ca.pem.next");
    let next = std::fs::read_to_string(&file).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let no_ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let no_ca = no_ca.self_signed(&key).unwrap().pem();
    for bundle in [next.clone() + &no_ca, next.clone() + &"\n".repeat(16 << 10)] {
        server.stop();
        server.write_private(&file, bundle.as_bytes());
        server.restart_with(&database, &[]);
        let (code, said) = round(&host, server);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("could not take that up"), "{said}");
        assert_eq!(kept(&host, server), first);
    }
    server.stop();
    server.write_private(&file, next.as_bytes());
    server.restart_with(&database, &[]);
    let (code, said) = round(&host, server);
    assert!(
        code == Some(0) && said.contains("believed from now on"),
        "{said}"
    );
    assert_eq!(kept(&host, server), first + &next);
}
