//! `touchstone image register`: what a registry has, byte for byte, in the attestor's register.

use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::database::Database;
use touchstone_tests::programs;
use touchstone_tests::registry::Registry;
use touchstone_tests::server::Server;

use crate::layer_keys::{LAYER, annotation, attestor, manifest, publisher, wrap};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

/// `touchstone image register` as a publisher; what it prints, or says instead.
fn register(server: &Server, credential: &str, more: &[&str]) -> Result<Value, String> {
    let arguments = [
        "--credential",
        credential,
        "image",
        "register",
        "--plain-http",
    ];
    let output = server.run(&[&arguments[..], more].concat());
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_registered_as_its_registry_has_it() {
    let server = attestor(&Database::under_test());
    let ci = publisher(&server, "ci");
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    let image = manifest(&[&annotation(&wrap(&server, &ci, "payments").await.unwrap())]);
    let registry = Registry::start();
    registry.put("payments", "1", MANIFEST, &image);
    let reference = format!("{}/payments:1", registry.name());
    let done = register(&server, &ci, &[&reference]).unwrap();
    let registered = &done["images"][0];
    assert_eq!(registered["manifest"], digest(&image));
    assert_eq!(registered["layers"][0]["plain"], LAYER);
    assert_eq!(registered["layers"][0]["keys"], json!(["payments"]));
    assert_eq!(
        (&registered["reference"], &registered["publisher"]),
        (&json!(reference), &json!("ci"))
    );
    assert_eq!(server.command(&["image", "list"]), done);

    // An index stands for the manifest of each platform.
    let plain =
        json!({ "schemaVersion": 2, "config": { "digest": LAYER }, "layers": [] }).to_string();
    let entry = |bytes: &[u8]| json!({ "mediaType": MANIFEST, "digest": digest(bytes), "size": bytes.len() });
    let index =
        json!({ "schemaVersion": 2, "manifests": [entry(&image), entry(plain.as_bytes())] });
    registry.put("payments", &digest(&image), MANIFEST, &image);
    registry.put(
        "payments",
        &digest(plain.as_bytes()),
        MANIFEST,
        plain.as_bytes(),
    );
    registry.put("payments", "all", INDEX, index.to_string().as_bytes());
    let all = format!("{}/payments:all", registry.name());
    let done = register(&server, &ci, &[&all]).unwrap();
    assert_eq!(done["images"].as_array().unwrap().len(), 2);
    assert_eq!(
        done["images"][0], *registered,
        "the same again changes nothing"
    );
    assert_eq!(done["images"][1]["encrypted"], false);

    // A registry that has something else under a digest is not believed.
    registry.put("payments", &digest(&image), MANIFEST, plain.as_bytes());
    let by_digest = format!("{}/payments@{}", registry.name(), digest(&image));
    register(&server, &ci, &[&by_digest]).unwrap_err();
    register(&server, &ci, &[&all]).unwrap_err();
    assert_eq!(
        server.command(&["image", "list"])["images"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_registered_is_shown_as_podman_wants_it() {
    let server = attestor(&Database::under_test());
    server.command(&["key", "create", "payments", "--policy", "payments"]);
    let ci = publisher(&server, "ci");
    let image = manifest(&[&annotation(&wrap(&server, &ci, "payments").await.unwrap())]);
    let plain =
        json!({ "schemaVersion": 2, "config": { "digest": LAYER }, "layers": [] }).to_string();
    let registry = Registry::start();
    registry.put("payments", "1", MANIFEST, &image);
    registry.put("payments", "plain", MANIFEST, plain.as_bytes());
    let said = |more: &[&str]| {
        let mut command = programs::command(&programs::path("touchstone"));
        command.arg("image").args(more);
        command.env("TOUCHSTONE_OPERATOR", server.folder().join("operator.json"));
        let output = command.output().unwrap();
        [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap())
    };
    let reference = format!("{}/payments:1", registry.name());
    let [shown, warned] = said(&["register", "--plain-http", &reference]);
    let manifest = digest(&image);
    let line =
        format!("podman pull --decryption-key provider:touchstone:node@{manifest} {reference}\n");
    assert!(
        shown.ends_with(&line) && warned.is_empty(),
        "{shown}{warned}"
    );
    let [shown, _] = said(&["list"]);
    assert!(
        shown.contains(&format!("{manifest} {reference}\n")),
        "{shown}"
    );
    let plain = format!("{}/payments:plain", registry.name());
    let [shown, warned] = said(&["register", "--plain-http", &plain]);
    assert!(!shown.contains("podman pull"), "{shown}");
    assert!(
        warned.contains("no layer of") && warned.contains(&plain),
        "{warned}"
    );
    let [_, refused] = said(&["register", &reference]);
    assert!(
        refused.contains("is asked with `--plain-http`"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_shown_its_credential_and_an_error_says_what_to_do() {
    let server = attestor(&Database::under_test());
    let ci = publisher(&server, "ci");
    let registry = Registry::start();
    let plain =
        json!({ "schemaVersion": 2, "config": { "digest": LAYER }, "layers": [] }).to_string();
    registry.put("payments", "1", MANIFEST, plain.as_bytes());
    // `ci:hush`
    registry.demand("Basic Y2k6aHVzaA==");
    let reference = format!("{}/payments:1", registry.name());
    let said = register(&server, &ci, &[&reference]).unwrap_err();
    assert!(said.contains("--authfile"), "{said}");
    let file = server.folder().join("auth.json");
    let auths = json!({ "auths": { registry.name(): { "auth": "Y2k6aHVzaA==" } } });
    server.write_private(&file, auths.to_string().as_bytes());
    let authfile = ["--authfile", file.to_str().unwrap()];
    register(&server, &ci, &[&authfile[..], &[&reference]].concat()).unwrap();
    let absent = format!("{}/payments:2", registry.name());
    let said = register(&server, &ci, &[&authfile[..], &[&absent]].concat()).unwrap_err();
    assert!(
        said.contains("see that it was pushed") && !said.contains("hush"),
        "{said}"
    );
    let said = register(&server, &ci, &["registry.example/payments:1"]).unwrap_err();
    assert!(said.contains("leave out --plain-http"), "{said}");
}
