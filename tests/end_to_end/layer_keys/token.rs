//! The master key in a token: without the token nothing is released, and what begins with a wrong one does not begin.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::server::Server;
use touchstone_tests::token::{Flag, Tokens};
use touchstone_tests::world::{Maker, World, sample_policy};

use super::{annotation, manifest, options, publisher, register, wrap};

/// Longer than the attestor waits for its token.
const SOON: Duration = Duration::from_secs(20);

/// An attestor with this master key, given as arguments.
pub(super) fn start(tokens: &Tokens, database: &Database, more: &[&str]) -> Server {
    let env = [("P11_KIT_SERVER_ADDRESS", &*tokens.address())];
    let server = Server::start_in(&env, database, more);
    server.command(&["policy", "apply", &sample_policy()]);
    server
}

/// What `/readyz` says without being asked to wait.
async fn readiness(server: &Server) -> Value {
    let (status, said) = server.send(Method::GET, "/readyz", None, None).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    said
}

/// Waits until the attestor has found its token again.
async fn until_there(server: &Server) {
    let begun = Instant::now();
    while readiness(server).await != json!({ "status": "ready" }) {
        assert!(begun.elapsed() < SOON, "the token is not found again");
    }
}

/// A healthy host, enrolled and attested.
pub(super) async fn joined(server: Server) -> (World, Host, Maker) {
    let maker = Maker::new();
    let world = World::on(server, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    let outcome = world.join(&host, Some("DE")).await;
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    (world, host, maker)
}

fn create(server: &Server, key: &str) -> Value {
    server.command(&["key", "create", key, "--policy", "payments"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_away_releases_no_key_until_it_is_back() {
    let mut tokens = Tokens::start(&["hsm"]);
    let uri = tokens.uri("hsm", "master");
    let server = start(&tokens, &Database::under_test(), &["--master-key", &uri]);
    let (world, host, _maker) = joined(server).await;
    let server = &world.server;
    assert!(!server.folder().join("master.key").exists());
    let ci = publisher(server, "ci");
    create(server, "payments");
    let annotation = annotation(&wrap(server, &ci, "payments").await.unwrap());
    let liar = Liar::take(&host, server).await;
    let released = async || {
        let wish = liar.wish(&annotation).await;
        let release = liar.ask_release(&wish).await.unwrap();
        assert_eq!(liar.open(&wish, &release).await.unwrap(), options());
    };
    let refused = async || {
        let wish = liar.wish(&annotation).await;
        let problem = liar.ask_release(&wish).await.unwrap_err();
        assert_eq!(problem.code, "master-key-away", "{}", problem.detail);
        assert!(problem.detail.contains("`hsm`"), "{}", problem.detail);
        assert!(problem.detail.contains("no key of a layer is used"));
        let wrapped = wrap(server, &ci, "payments").await;
        assert_eq!(wrapped.unwrap_err(), "master-key-away");
        let create = ["key", "create", "second", "--policy", "payments"];
        assert_eq!(server.refusal(&create), "master-key-away");
        let away = json!({ "status": "ready", "without": ["master-key"] });
        assert_eq!(readiness(server).await, away);
        let metrics = server.text("/metrics").await;
        assert!(metrics.contains("\ntouchstone_master_key_available 0\n"));
        // All else goes on.
        let challenge = liar.challenge().await;
        let round = liar.send(&liar.evidence(&challenge).await).await;
        assert_eq!(round.unwrap().tier.to_string(), "affirming");
    };
    released().await;

    tokens.take_away();
    refused().await;
    assert!(server.admits("u1", "node-de-1").await);
    tokens.bring_back();
    until_there(server).await;
    released().await;

    // One that hangs, with all that has asked it.
    tokens.freeze();
    let begun = Instant::now();
    refused().await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(server.admits("u2", "node-de-1").await);
    tokens.thaw();
    until_there(server).await;
    released().await;

    let entries = server.audit_entries();
    let of = |kind: &'static str| entries.iter().filter(move |entry| entry["kind"] == kind);
    assert_eq!(of("layer-key-released").count(), 3);
    let why: Vec<&Value> = of("layer-key-refused")
        .map(|entry| &entry["refusals"])
        .collect();
    let away = json!(["master-key-away"]);
    assert_eq!(why, [&away, &away]);
    assert_eq!(of("layer-key-created").count(), 1);
    let metrics = server.text("/metrics").await;
    assert!(metrics.contains("\ntouchstone_master_key_available 1\n"));
    assert!(metrics.contains("touchstone_refusals_total{code=\"master-key-away\"} 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_is_refused_in_mid_run_is_not_tried_again() {
    let mut tokens = Tokens::start(&["hsm"]);
    let uri = tokens.uri("hsm", "master");
    let database = Database::under_test();
    let mut server = start(&tokens, &database, &["--master-key", &uri]);
    let ci = publisher(&server, "ci");
    create(&server, "payments");
    tokens.take_away();
    let pin = std::fs::read_to_string(tokens.pin_file()).unwrap();
    tokens.write_pin("0000");
    tokens.bring_back();
    let refuses_the_pin = || {
        let said = server.run(&["key", "create", "second", "--policy", "payments"]);
        let said = String::from_utf8(said.stderr).unwrap();
        assert!(said.contains("master-key-away"), "{said}");
        said.contains("refuses the PIN")
    };
    let begun = Instant::now();
    while !refuses_the_pin() {
        assert!(begun.elapsed() < SOON, "the PIN is not looked at");
    }
    // For several of the pauses after which another token would be looked for.
    tokens.write_pin(pin.trim());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert!(refuses_the_pin(), "the PIN was tried again");
    }
    server.restart_with(&database, &["--master-key", &uri]);
    wrap(&server, &ci, "payments").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_pin_is_refused_is_not_started_again_until_the_token_is_locked() {
    let tokens = Tokens::start(&["hsm"]);
    let uri = tokens.uri("hsm", "master");
    let database = Database::under_test();
    let mut server = start(&tokens, &database, &["--master-key", &uri]);
    server.stop();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let unit = workspace.join("deploy/systemd/touchstone.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let mut lines = unit.lines();
    let code = lines.find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
    let code: i32 = code.unwrap().parse().unwrap();
    tokens.write_pin("0000");
    let (exit, said) = server.failed_start(&database, &["--master-key", &uri]);
    assert!(said.contains("refuses the PIN"), "{said}");
    assert_eq!(exit, code);
    // What a new start may mend has another.
    tokens.write_pin("");
    let (exit, said) = server.failed_start(&database, &["--master-key", &uri]);
    assert!(said.contains("holds no PIN"), "{said}");
    assert_eq!(exit, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attestor_does_not_start_with_a_token_that_is_not_the_one() {
    let mut tokens = Tokens::start(&["hsm", "spare"]);
    let uri = tokens.uri("hsm", "master");
    let database = Database::under_test();
    let mut server = start(&tokens, &database, &["--master-key", &uri]);
    let ci = publisher(&server, "ci");
    create(&server, "payments");
    server.stop();
    let refused = |uri: &str, words: &str| {
        let said = server.refusal_to_start(&database, &["--master-key", uri]);
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("4711"), "{said}");
    };
    let pin_value = uri.replace("pin-source=", "pin-value=4711&pin-source=");
    refused(&pin_value, "a PIN is never in the URI");
    let nowhere = tokens.uri_by(Path::new("/nowhere.so"), "hsm", "master");
    refused(
        &nowhere,
        "`/nowhere.so` cannot be loaded as a PKCS#11 module",
    );
    let libc = tokens.uri_by(Path::new("/bin/true"), "hsm", "master");
    refused(&libc, "cannot be loaded as a PKCS#11 module");
    let other = tokens.uri("gone", "master");
    refused(&other, "no token is called `gone`; there are `");
    // Another key would be another master key.
    let missing = tokens.uri("hsm", "other");
    refused(&missing, "no secret key called `other`, and none is made");
    tokens.bring("spare", "master", &[8; 32]);
    refused(&tokens.uri("spare", "master"), "--previous-master-key");
    tokens.bring("hsm", "master", &[8; 32]);
    refused(&uri, "several secret keys called `master`");

    let without = uri.split("&pin-source").next().unwrap();
    refused(without, "wants a PIN");
    let pin = std::fs::read_to_string(tokens.pin_file()).unwrap();
    tokens.write_pin("0000");
    refused(&uri, "refuses the PIN");
    tokens.write_pin("");
    refused(&uri, "holds no PIN");
    tokens.write_pin(pin.trim());
    let mut open = std::fs::metadata(tokens.pin_file()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o640);
    std::fs::set_permissions(tokens.pin_file(), open).unwrap();
    refused(&uri, "can be read by others");
    tokens.take_away();
    refused(&uri, "no token is called `hsm`; there is none at all");
    drop(ci);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_could_leave_its_token_is_refused() {
    let mut tokens = Tokens::start(&["hsm"]);
    let uri = tokens.uri("hsm", "master");
    let database = Database::under_test();
    let mut server = start(&tokens, &database, &["--master-key", &uri]);
    let ci = publisher(&server, "ci");
    create(&server, "payments");
    server.stop();
    for (flag, fit, words) in [
        (Flag::Extractable, false, "it could be extracted"),
        (Flag::Sensitive, true, "it is not sensitive"),
        (Flag::Derive, false, "others could be derived from it"),
        (Flag::Sign, true, "it may not sign"),
    ] {
        tokens.take_away();
        tokens.set(flag, !fit);
        tokens.bring_back();
        let said = server.refusal_to_start(&database, &["--master-key", &uri]);
        assert!(said.contains(words), "{words}: {said}");
        tokens.take_away();
        tokens.set(flag, fit);
        tokens.bring_back();
    }
    tokens.bring("hsm", "short", &[7; 16]);
    let short = tokens.uri("hsm", "short");
    let said = server.refusal_to_start(&database, &["--master-key", &short]);
    assert!(said.contains("it has not 256 bits"), "{said}");
    server.restart_with(&database, &["--master-key", &uri]);
    wrap(&server, &ci, "payments").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_goes_from_a_file_into_a_token_on_to_another_and_back() {
    let tokens = Tokens::start(&["old", "new"]);
    let database = Database::under_test();
    let mut server = start(&tokens, &database, &[]);
    let ci = publisher(&server, "ci");
    create(&server, "payments");
    let sealed = annotation(&wrap(&server, &ci, "payments").await.unwrap());
    server.command(&["key", "rotate", "payments"]);
    let file = server.folder().join("master.key");
    let file = file.to_str().unwrap().to_owned();
    let (old, new) = (tokens.uri("old", "master"), tokens.uri("new", "master"));
    let exchange = async |server: &mut Server, from: &str, to: &str| {
        let both = ["--previous-master-key", from, "--master-key", to];
        server.restart_with(&database, &both);
        // Without the one before, what was wrapped under it still opens.
        server.restart_with(&database, &["--master-key", to]);
        let now = annotation(&wrap(server, &ci, "payments").await.unwrap());
        register(server, &ci, &manifest(&[&sealed, &now]))
            .await
            .unwrap();
        let entries = server.audit_entries();
        let mut replaced = entries
            .iter()
            .filter(|entry| entry["kind"] == "master-key-replaced");
        let last = replaced.next_back().unwrap();
        assert_eq!(last["versions"], 2);
        (last["replaced"].clone(), last["master_key"].clone())
    };
    let first = exchange(&mut server, &file, &old).await;
    let second = exchange(&mut server, &old, &new).await;
    let third = exchange(&mut server, &new, &file).await;
    // The id is the key's own.
    assert_eq!(first.1, second.0);
    assert_eq!(second.1, third.0);
    assert_eq!(first.0, third.1);
    server.stop();
    let said = server.refusal_to_start(&database, &["--master-key", &new]);
    assert!(said.contains("--previous-master-key"), "{said}");
    // A copy of a key is the same master key, wherever it is.
    tokens.bring("old", "copy", &[7; 32]);
    tokens.bring("new", "copy", &[7; 32]);
    let (one, other) = (tokens.uri("old", "copy"), tokens.uri("new", "copy"));
    exchange(&mut server, &file, &one).await;
    server.restart_with(&database, &["--master-key", &other]);
    wrap(&server, &ci, "payments").await.unwrap();
}
