//! Wherever a pod names an image: its containers of every kind, and its volumes.

use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::registry::Registry;
use touchstone_tests::review::{debug, pod, running};
use touchstone_tests::server::Server;

use super::super::{attestor, demanding};
use super::{ENCRYPTED, PLAIN, manifest, put};

#[tokio::test(flavor = "multi_thread")]
async fn every_container_of_a_pod_is_looked_at_alone() {
    let registry = Registry::start();
    let (whole, plain) = (
        put(&registry, &manifest("+encrypted")),
        put(&registry, &manifest("")),
    );
    let server = attestor(ENCRYPTED, &[PLAIN, &registry.name()]);
    let one = |image: &str| json!([{ "name": "x", "image": image }]);
    let with = |field: &str, value: Value| {
        let mut spec = running(&whole);
        spec[field] = value;
        pod("u1", &spec)
    };
    let mut sidecar = one(&plain);
    sidecar[0]["restartPolicy"] = json!("Always");
    let mounted = json!([{ "name": "x", "image": { "reference": plain } }]);
    for review in [
        with("containers", one(&plain)),
        with("initContainers", one(&plain)),
        with("initContainers", sidecar),
        with("ephemeralContainers", one(&plain)),
        with("volumes", mounted),
    ] {
        assert_eq!(
            server.refusals(&review).await,
            json!(["image-not-encrypted"])
        );
    }
    let good = with("initContainers", one(&whole));
    assert_eq!(server.refusals(&good).await, "none");
}

/// The encrypted image is in one container of the pod alone: its policy is for the whole pod all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_for_an_image_is_for_whichever_container_carries_it() {
    let server = Server::start(&Database::under_test());
    let policy = demanding("{}").replace(
        "    labels:\n      app: payments\n",
        "    images: [registry.example/payments/]\n",
    );
    let file = server.file("policy.yaml", &policy);
    server.command(&["policy", "apply", &file, "--drain"]);
    let secret = format!(
        "Registry.example:443/payments/api@sha256:{}",
        "0a".repeat(32)
    );
    let other = format!("registry.example/tools/log@sha256:{}", "0b".repeat(32));
    let mut base = running(&other);
    base["nodeName"] = json!("nowhere");
    assert_eq!(server.refusals(&pod("u1", &base)).await, "none");
    let one = json!([{ "name": "x", "image": secret }]);
    let mut sidecar = one.clone();
    sidecar[0]["restartPolicy"] = json!("Always");
    let mounted = json!([{ "name": "x", "image": { "reference": secret } }]);
    for (field, value) in [
        ("initContainers", one.clone()),
        ("initContainers", sidecar),
        ("ephemeralContainers", one),
        ("volumes", mounted),
    ] {
        let mut spec = base.clone();
        spec[field] = value;
        assert_eq!(
            server.refusals(&pod("u1", &spec)).await,
            json!(["node-unmapped"])
        );
    }
    let added = debug(&pod("u1", &base), &secret);
    assert_eq!(server.refusals(&added).await, json!(["node-unmapped"]));
}
