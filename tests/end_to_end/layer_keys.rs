//! Keys of encrypted layers: made, rotated, disabled, destroyed, brought along; what a publisher may do with them, and
//! what is left of them.

mod at_rest;
mod imports;
mod master;
mod memory;
mod publishing;
mod token;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::server::Server;
use touchstone_tests::world::sample_policy;

pub(crate) use imports::encrypt;
pub(crate) use publishing::{LAYER, annotation, manifest, options, publisher, register, wrap};

/// An attestor with the sample policy, whose WorkloadPolicy is called `payments`.
pub(crate) fn attestor(database: &Database) -> Server {
    let server = Server::start(database);
    server.command(&["policy", "apply", &sample_policy()]);
    server
}

/// The kinds of the entries about keys and images, with who did it.
fn told(server: &Server) -> Vec<(String, String, String)> {
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let entries = server.audit_entries().into_iter();
    let about = |kind: &str| {
        ["layer-", "image-", "import-", "master-"]
            .iter()
            .any(|start| kind.starts_with(start))
    };
    entries
        .map(|entry| {
            (
                word(&entry, "kind"),
                word(&entry, "actor"),
                word(&entry, "credential"),
            )
        })
        .filter(|(kind, ..)| about(kind))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_wraps_while_it_is_active_and_what_it_wrapped_opens_until_it_is_destroyed() {
    let server = attestor(&Database::under_test());
    let ci = publisher(&server, "ci");
    let made = server.command(&["key", "create", "payments", "--policy", "payments"]);
    assert_eq!(
        (&made["version"], &made["state"]),
        (&json!(1), &json!("active"))
    );
    let first = wrap(&server, &ci, "payments").await.unwrap();
    assert_eq!(first["key_version"], 1);
    assert_eq!(
        (&first["layer"], &first["policy"]),
        (&json!(LAYER), &json!("payments"))
    );
    let said: Value = serde_json::from_slice(&annotation(&first)).unwrap();
    assert_eq!(
        (&said["key"], &said["key_version"]),
        (&json!("payments"), &json!(1))
    );

    let rotated = server.command(&["key", "rotate", "payments", "--reason", "once a year"]);
    assert_eq!(rotated["version"], 2);
    let second = wrap(&server, &ci, "payments").await.unwrap();
    assert_eq!(second["key_version"], 2);
    // Both versions open.
    let both = manifest(&[&annotation(&first), &annotation(&second)]);
    let image = register(&server, &ci, &both).await.unwrap();
    assert_eq!(image["layers"][0]["plain"], LAYER);
    assert_eq!(image["layers"][0]["keys"], json!(["payments", "payments"]));
    assert_eq!(
        (&image["publisher"], &image["encrypted"]),
        (&json!("ci"), &json!(true))
    );

    let other = manifest(&[&annotation(&first)]);
    server.command(&["key", "disable", "payments"]);
    assert_eq!(
        wrap(&server, &ci, "payments").await.unwrap_err(),
        "layer-key-disabled"
    );
    assert_eq!(
        register(&server, &ci, &other).await.unwrap_err(),
        "layer-key-disabled"
    );
    assert_eq!(
        server.refusal(&["key", "rotate", "payments"]),
        "layer-key-disabled"
    );
    server.command(&["key", "enable", "payments"]);
    register(&server, &ci, &other).await.unwrap();

    let asked = server.run(&["key", "destroy", "payments"]);
    let asked = String::from_utf8(asked.stderr).unwrap();
    assert!(
        asked.contains("touchstone key destroy payments --yes"),
        "{asked}"
    );
    let gone = server.command(&["key", "destroy", "payments", "--yes"]);
    assert_eq!(gone["state"], "destroyed");
    assert_eq!(
        wrap(&server, &ci, "payments").await.unwrap_err(),
        "layer-key-destroyed"
    );
    assert_eq!(
        register(&server, &ci, &manifest(&[&annotation(&second)]))
            .await
            .unwrap_err(),
        "layer-key-destroyed"
    );
    assert_eq!(
        server.refusal(&["key", "enable", "payments"]),
        "layer-key-destroyed"
    );
    let create = ["key", "create", "payments", "--policy", "payments"];
    assert_eq!(server.refusal(&create), "layer-key-taken");
    let output = server.run(&create);
    let taken = String::from_utf8_lossy(&output.stderr);
    assert!(
        taken.contains("is destroyed") && !taken.contains("rotate"),
        "{taken}"
    );

    let actor =
        |kind: &str, actor: &str, name: &str| (kind.to_owned(), actor.to_owned(), name.to_owned());
    let operator = |kind: &str| actor(kind, "operator", "operator");
    let by_ci = |kind: &str| actor(kind, "publisher", "ci");
    let due = [
        operator("layer-key-created"),
        by_ci("layer-wrapped"),
        operator("layer-key-rotated"),
        by_ci("layer-wrapped"),
        by_ci("image-registered"),
        operator("layer-key-disabled"),
        operator("layer-key-enabled"),
        by_ci("image-registered"),
        operator("layer-key-destroyed"),
    ];
    assert_eq!(told(&server), due);
    let listed = server.command(&["key", "list"]);
    assert_eq!(listed["layer_keys"][0]["state"], "destroyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_not_wrapped_and_not_registered() {
    let server = attestor(&Database::under_test());
    let ci = publisher(&server, "ci");
    let create = |name, policy| server.refusal(&["key", "create", name, "--policy", policy]);
    assert_eq!(create("payments", "nobodys"), "layer-key-policy-unknown");
    assert_eq!(
        wrap(&server, &ci, "payments").await.unwrap_err(),
        "layer-key-unknown"
    );
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    server.command(&["key", "create", "other", "--policy", "payments"]);
    let body = json!({ "options": URL_SAFE_NO_PAD.encode(b"hush") });
    let path = "/v1/layer-keys/payments/wrap";
    let (_, answer) = server
        .send(
            Method::POST,
            path,
            Some(&publishing::token(&ci)),
            Some(&body),
        )
        .await;
    assert_eq!(answer["type"], "touchstone:layer-options-malformed");
    assert!(!answer.to_string().contains("hush"), "{answer}");

    let sealed = annotation(&wrap(&server, &ci, "payments").await.unwrap());
    let text = String::from_utf8(sealed).unwrap();
    for (changed, code) in [
        (
            text.replace("\"payments\",\"key_v", "\"other\",\"key_v"),
            "annotation-not-opened",
        ),
        (
            text.replace("key_version\":1", "key_version\":2"),
            "layer-key-version-unknown",
        ),
        (
            text.replace("\"key\":\"payments\"", "\"key\":\"nobodys\""),
            "layer-key-unknown",
        ),
        (
            text.replace("\"version\":1,", "\"version\":2,"),
            "annotation-version",
        ),
        (
            text.replace("sha256:2e", "sha256:2f"),
            "annotation-not-opened",
        ),
        (
            text.replace("\"nonce\"", "\"once\""),
            "annotation-malformed",
        ),
    ] {
        assert_ne!(changed, text, "{code}");
        let image = manifest(&[changed.as_bytes()]);
        assert_eq!(register(&server, &ci, &image).await.unwrap_err(), code);
    }
    let refused = register(&server, &ci, b"{\"manifests\":[]}").await;
    assert_eq!(refused.unwrap_err(), "image-index");
    assert_eq!(
        register(&server, &ci, b"[]").await.unwrap_err(),
        "image-manifest-malformed"
    );
    // What was registered stays as it is: the same again is no act.
    let image = manifest(&[text.as_bytes()]);
    let first = register(&server, &ci, &image).await.unwrap();
    let second = publisher(&server, "ci2");
    assert_eq!(register(&server, &second, &image).await.unwrap(), first);
    let listed = server.get("/v1/images").await;
    assert_eq!(listed["images"], json!([first]));
    let registered = told(&server)
        .into_iter()
        .filter(|(kind, ..)| kind == "image-registered");
    assert_eq!(registered.count(), 1);
}
