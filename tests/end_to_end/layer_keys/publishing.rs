//! What a publisher does: it wraps the options of layers, and registers images of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_tests::server::Server;

/// Digest of the plain layer in [`options`].
pub(crate) const LAYER: &str =
    "sha256:2eb7d2352acf5c8920b6b3bc08e7aa75eaf360501f4a2635b96902e065792e86";

/// Cipher options as ocicrypt writes them.
pub(crate) fn options() -> Vec<u8> {
    let options =
        json!({ "symkey": "aHVzaA==", "digest": LAYER, "cipheroptions": { "nonce": "aGk=" } });
    serde_json::to_vec(&options).unwrap()
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

pub(super) fn token(file: &str) -> String {
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
