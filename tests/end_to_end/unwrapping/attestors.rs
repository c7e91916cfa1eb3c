//! The attestor that should release a key: away, slow, somebody else, or one that answers wrongly.

use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::Value;
use touchstone_tests::database::Database;
use touchstone_tests::impostor::impostor;
use touchstone_tests::keyprovider::{KeyProvider, Refused, base64, program, unwrap};
use touchstone_tests::proxy::Proxy;
use touchstone_tests::server::Server;

use super::{another, scene, tell, way};

/// What a runtime is told.
async fn told(provider: &KeyProvider, annotation: &[u8]) -> Refused {
    let told = provider.unwrap(annotation, &[], base64).await;
    told.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attestor_that_is_away_is_named() {
    let (world, host, _maker, annotation) = scene().await;
    let provider = KeyProvider::start(&host, &world.server);
    world.server.signal(Signal::KILL);
    let refused = told(&provider, &annotation).await;
    assert_eq!(refused.code(), "unavailable", "{refused:?}");
    let words = format!(
        "no answer from `{}`; see that the attestor runs",
        world.server.url
    );
    assert!(refused.text.contains(&words), "{refused:?}");
    let output = program(&host, &world.server, &unwrap(&annotation, &[], base64));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&words));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attestor_that_is_slow_is_not_waited_for_without_end() {
    let (world, host, _maker, annotation) = scene().await;
    let way = way(&host, &world);
    let patience = ["--keyprovider-patience", "2"];
    let provider = KeyProvider::start_with(&host, &world.server, &patience);
    way.cut();
    let refused = told(&provider, &annotation).await;
    assert_eq!(refused.code(), "unavailable", "{refused:?}");
    let words = "no key within 2 s, because the attestor took too long";
    assert!(refused.text.contains(words), "{refused:?}");
    way.mend();
    assert!(provider.unwrap(&annotation, &[], base64).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_under_another_ca_gets_no_evidence() {
    let (mut world, host, _maker, annotation) = scene().await;
    let provider = KeyProvider::start(&host, &world.server);
    world.server.stop();
    let address = world.server.url.trim_start_matches("https://").to_owned();
    let impostor = Server::start_at(&Database::Sqlite, &address, &[]);
    let refused = told(&provider, &annotation).await;
    assert_eq!(refused.code(), "permission-denied", "{refused:?}");
    assert!(
        refused
            .text
            .contains("is not the attestor that this host knows"),
        "{refused:?}"
    );
    let output = program(&host, &world.server, &unwrap(&annotation, &[], base64));
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let entries = impostor.audit_entries();
    assert!(entries.iter().all(|entry| entry["actor"] == "attestor"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_not_believed() {
    let (world, host, _maker, annotation) = scene().await;
    let (_, port) = world.server.url.rsplit_once(':').unwrap();
    let way = TcpListener::bind(("127.0.0.2", port.parse().unwrap())).unwrap();
    let _way = Proxy::on(way, port.parse().unwrap());
    tell(&host, &world, "//127.0.0.1", "//127.0.0.2");
    let mut provider = KeyProvider::begin(&host, &world.server, &[]);
    provider.daemon.wait_for("not attested");
    let refused = told(&provider, &annotation).await;
    assert_eq!(refused.code(), "permission-denied", "{refused:?}");
    assert!(
        refused.text.contains("of the right CA and still no good"),
        "{refused:?}"
    );
}

/// The bytes in a field of a release.
fn field(release: &Value, names: [&str; 2]) -> Vec<u8> {
    let [outer, inner] = names;
    let text = match inner {
        "" => &release[outer],
        inner => &release[outer][inner],
    };
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

/// The same release with another lease.
fn leased(mut release: Value, name: &str, value: &Value) -> Value {
    let mut lease: Value = serde_json::from_slice(&field(&release, ["lease", ""])).unwrap();
    lease[name] = value.clone();
    release["lease"] = URL_SAFE_NO_PAD.encode(lease.to_string()).into();
    release
}

/// The same release with another bit in a field.
fn flipped(mut release: Value, names: [&str; 2], at: usize) -> Value {
    let mut bytes = field(&release, names);
    bytes[at] ^= 1;
    let text = URL_SAFE_NO_PAD.encode(bytes).into();
    match names {
        [outer, ""] => release[outer] = text,
        [outer, inner] => release[outer][inner] = text,
    }
    release
}

/// A way to answer wrongly, and what the runtime is told of it.
type Lie = (fn(Value) -> Value, &'static str);

const LIES: [Lie; 9] = [
    (
        |release| leased(release, "host", &"fr-2".into()),
        "for another host",
    ),
    (
        |release| leased(release, "reset_count", &99.into()),
        "for another boot",
    ),
    (
        |release| leased(release, "key", &"payroll".into()),
        "for another key",
    ),
    (
        |release| leased(release, "policy", &"any".into()),
        "for another policy",
    ),
    (
        |release| leased(release, "expires_at", &1.into()),
        "was over when it came",
    ),
    // It would never end.
    (
        |release| leased(release, "clock_end", &u64::MAX.into()),
        "what came as a sealed release is none for this boot and this lease",
    ),
    // K8: attributes of the object, such as userWithAuth.
    (
        |release| flipped(release, ["sealed", "public"], 7),
        "what came as a sealed release",
    ),
    (
        |release| flipped(release, ["sealed", "duplicate"], 40),
        "sealed to another TPM",
    ),
    (
        |release| flipped(release, ["payload", ""], 3),
        "does not hang together",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_not_what_was_asked_for_is_not_opened() {
    let (world, host, _maker, annotation) = scene().await;
    let (next, turn) = std::sync::mpsc::channel::<fn(Value) -> Value>();
    let turn = std::sync::Mutex::new(turn);
    impostor(&host, &world.server, move |path, answer| match path {
        "/v1/releases" => match turn.lock().unwrap().try_recv() {
            Ok(lie) => lie(answer),
            Err(_) => answer,
        },
        _ => answer,
    });
    let provider = KeyProvider::start(&host, &world.server);
    for (lie, words) in LIES {
        // As often as the agent may ask for one key.
        for _ in 0..4 {
            next.send(lie).unwrap();
        }
        let refused = told(&provider, &annotation).await;
        assert!(refused.text.contains(words), "{words}: {refused:?}");
        while provider.unwrap(&annotation, &[], base64).await.is_err() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_an_earlier_time_opens_nothing_else() {
    let (world, host, _maker, annotation) = scene().await;
    let first = std::sync::OnceLock::<Value>::new();
    impostor(&host, &world.server, move |path, answer| match path {
        // K2: whatever is asked for, it is the first one that comes.
        "/v1/releases" => first.get_or_init(|| answer).clone(),
        _ => answer,
    });
    let provider = KeyProvider::start(&host, &world.server);
    assert!(provider.unwrap(&annotation, &[], base64).await.is_ok());
    world.server.command(&["key", "rotate", "payments"]);
    let rotated = another(&world, "ci-2").await;
    let refused = told(&provider, &rotated).await;
    assert!(
        refused.text.contains("for another key version"),
        "{refused:?}"
    );
    host.reboot();
    let refused = told(&provider, &annotation).await;
    assert!(refused.text.contains("for another boot"), "{refused:?}");
}
