//! Registries that do not tell, that want a credential, and that cannot be asked as the command line says.

use std::time::{Duration, Instant};

use serde_json::json;
use touchstone_tests::database::Database;
use touchstone_tests::registry::Registry;
use touchstone_tests::review::{pod, running};
use touchstone_tests::server::Server;

use super::super::attestor;
use super::{ENCRYPTED, MANIFEST, PLAIN, digest, judged, manifest, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_tell_is_answered_for_with_a_refusal() {
    let registry = Registry::start();
    let away = "127.0.0.1:9";
    let server = attestor(ENCRYPTED, &[PLAIN, &registry.name(), PLAIN, away]);
    let absent = format!("{away}/payments@sha256:{}", "0a".repeat(32));
    assert_eq!(
        judged(&server, &absent).await,
        json!(["image-encryption-unknown"])
    );
    let (_, why) = server.review(&pod("u1", &running(&absent))).await;
    assert!(
        why.contains("see that the registry is there") && why.contains("image register"),
        "{why}"
    );
    // Another manifest under the digest, one that is too large, one that is none, and an index within an index.
    let encrypted = manifest("+encrypted");
    let lie = digest(b"another");
    registry.put("payments", &lie, MANIFEST, &encrypted);
    let lie = format!("{}/payments@{lie}", registry.name());
    assert_eq!(
        judged(&server, &lie).await,
        json!(["image-encryption-unknown"])
    );
    let huge = [&encrypted[..], &b" ".repeat(4 << 20)].concat();
    let inner = json!({ "manifests": [{ "digest": digest(&encrypted) }] }).to_string();
    put(&registry, inner.as_bytes());
    let outer = json!({ "manifests": [{ "digest": digest(inner.as_bytes()) }] }).to_string();
    for manifest in [&huge[..], b"[]", outer.as_bytes()] {
        let image = put(&registry, manifest);
        assert_eq!(
            judged(&server, &image).await,
            json!(["image-encryption-unknown"])
        );
    }
    // Not named on the command line: it is asked with TLS, which it does not speak.
    let other = Registry::start();
    let image = put(&other, &encrypted);
    assert_eq!(
        judged(&server, &image).await,
        json!(["image-encryption-unknown"])
    );
    // An API server waits three seconds.
    let image = put(&registry, &encrypted);
    registry.fall_silent();
    let asked = Instant::now();
    assert!(!server.review(&pod("u1", &running(&image))).await.0);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_shown_the_credential_of_the_file_or_a_token_for_it() {
    let registry = Registry::start();
    let [basic, bearer, last] =
        ["1", "2", "3"].map(|number| put(&registry, &manifest(&format!("{number}+encrypted"))));
    // `ci:hush`
    registry.demand("Basic Y2k6aHVzaA==");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    let write = |registry: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let auths = json!({ "auths": { registry: { "auth": "Y2k6aHVzaA==" } } });
        std::fs::write(&file, auths.to_string()).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        ["--registry-credentials", file.to_str().unwrap()]
    };
    let name = registry.name();
    let plain = [PLAIN, &name];
    let other = attestor(
        ENCRYPTED,
        &[&plain[..], &write("registry.example")].concat(),
    );
    assert_eq!(
        judged(&other, &basic).await,
        json!(["image-encryption-unknown"])
    );
    let server = attestor(ENCRYPTED, &[&plain[..], &write(&registry.name())].concat());
    assert_eq!(judged(&server, &basic).await, "none");
    registry.give_tokens("t0ken");
    assert_eq!(judged(&server, &bearer).await, "none");
    assert_eq!(
        judged(&other, &last).await,
        json!(["image-encryption-unknown"])
    );
}

#[test]
fn a_start_with_what_cannot_be_used_for_registries_is_refused() {
    let database = Database::under_test();
    let mut server = Server::start(&database);
    server.stop();
    let said = server.refusal_to_start(&database, &[PLAIN, "registry.example:5000"]);
    assert!(said.contains("leave out --plain-http-registry"), "{said}");
    let file = server.file("auth.json", "{}");
    let said = server.refusal_to_start(&database, &["--registry-credentials", &file]);
    assert!(said.contains("auth.json"), "{said}");
}
