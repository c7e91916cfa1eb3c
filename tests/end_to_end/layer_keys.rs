//! Keys of encrypted layers: made, rotated, disabled, destroyed, brought along; what a publisher may do with them, and
//! what is left of them.

mod imports;
mod master;
mod memory;
mod token;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::rows::Rows;
use touchstone_tests::server::Server;
use touchstone_tests::world::sample_policy;

pub(crate) use imports::encrypt;

/// Digest of the plain layer in [`options`].
pub(crate) const LAYER: &str =
    "sha256:2eb7d2352acf5c8920b6b3bc08e7aa75eaf360501f4a2635b96902e065792e86";

/// Cipher options as ocicrypt writes them.
pub(crate) fn options() -> Vec<u8> {
    let options =
        json!({ "symkey": "aHVzaA==", "digest": LAYER, "cipheroptions": { "nonce": "aGk=" } });
    serde_json::to_vec(&options).unwrap()
}

/// An attestor with the sample policy, whose WorkloadPolicy is called `payments`.
pub(crate) fn attestor(database: &Database) -> Server {
    let server = Server::start(database);
    server.command(&["policy", "apply", &sample_policy()]);
    server
}

/// The file of a new publisher's credential.
pub(crate) fn publisher(server: &Server, name: &str) -> String {
    let file = server.folder().join(format!("{name}.json"));
    let file = file.to_str().unwrap().to_owned();
    server.command(&[
        "credential",
        "create",
        name,
        "--role",
        "publisher",
        "--out",
        &file,
    ]);
    file
}

fn token(file: &str) -> String {
    let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    file["token"].as_str().unwrap().to_owned()
}

/// Wraps [`options`] under a key as a publisher; the answer, or the code of the refusal.
pub(crate) async fn wrap(server: &Server, publisher: &str, key: &str) -> Result<Value, String> {
    let body = json!({ "options": URL_SAFE_NO_PAD.encode(options()) });
    let path = format!("/v1/layer-keys/{key}/wrap");
    let (status, answer) = server
        .send(Method::POST, &path, Some(&token(publisher)), Some(&body))
        .await;
    match status {
        StatusCode::OK => Ok(answer),
        _ => Err(answer["type"]
            .as_str()
            .unwrap_or_default()
            .replace("touchstone:", "")),
    }
}

/// What an answer to [`wrap`] holds for the image.
pub(crate) fn annotation(answer: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(answer["annotation"].as_str().unwrap())
        .unwrap()
}

/// A manifest of one encrypted layer with these annotations.
pub(crate) fn manifest(annotations: &[&[u8]]) -> Vec<u8> {
    let encoded: Vec<String> = annotations
        .iter()
        .map(|one| base64::engine::general_purpose::STANDARD.encode(one))
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "digest": LAYER },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "digest": LAYER.replace("2e", "00"),
            "annotations": { "org.opencontainers.image.enc.keys.provider.touchstone": encoded.join(",") },
        }],
    });
    serde_json::to_vec(&manifest).unwrap()
}

/// Registers an image as a publisher; the answer, or the code of the refusal.
pub(crate) async fn register(
    server: &Server,
    publisher: &str,
    manifest: &[u8],
) -> Result<Value, String> {
    let manifest = URL_SAFE_NO_PAD.encode(manifest);
    let body = json!({ "reference": "registry.example/payments:1", "manifest": manifest });
    let (status, answer) = server
        .send(
            Method::POST,
            "/v1/images",
            Some(&token(publisher)),
            Some(&body),
        )
        .await;
    match status {
        StatusCode::OK => Ok(answer),
        _ => Err(answer["type"]
            .as_str()
            .unwrap_or_default()
            .replace("touchstone:", "")),
    }
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
        .send(Method::POST, path, Some(&token(&ci)), Some(&body))
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

/// Whether a file below `folder` holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => holds(&path, bytes),
            false => std::fs::read(&path)
                .is_ok_and(|content| content.windows(bytes.len()).any(|part| part == bytes)),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_kept_in_clear_and_a_destroyed_key_is_in_no_file() {
    let database = Database::under_test();
    let server = attestor(&database);
    let ci = publisher(&server, "ci");
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    wrap(&server, &ci, "payments").await.unwrap();
    let sqlite = database.url().is_none();
    let statement = match sqlite {
        true => "SELECT hex(wrapped) FROM layer_key_versions",
        false => "SELECT encode(wrapped, 'hex') FROM layer_key_versions",
    };
    let rows = Rows::of(&database, server.folder()).await;
    let wrapped = rows.all(statement).await.remove(0).remove(0).unwrap();
    rows.close().await;
    let wrapped = hex::decode(wrapped).unwrap();
    let master = std::fs::read_to_string(server.folder().join("master.key")).unwrap();
    let master = hex::decode(master.trim()).unwrap();
    // The symmetric key of the layer, as it stands in the options.
    for secret in [&b"aHVzaA=="[..], &master] {
        assert!(!holds(server.folder(), secret));
    }
    // PostgreSQL's own log keeps what was written until it is recycled; the tables are what is looked at.
    let files = |server: &Server| match sqlite {
        true => holds(server.folder(), &wrapped),
        false => {
            database.execute("CHECKPOINT");
            holds(&database.cluster().folder().join("data/base"), &wrapped)
        }
    };
    assert!(
        files(&server),
        "the wrapped key is not found while it is there"
    );
    server.command(&["key", "destroy", "payments", "--yes"]);
    assert!(
        !files(&server),
        "a destroyed key is left in the database's files"
    );
    assert_eq!(
        server
            .count("layer_key_versions WHERE wrapped IS NOT NULL")
            .await,
        0
    );
}
