//! skopeo, which encrypts images and moves them.

use std::process::Command;

use serde_json::Value;

use super::image::Image;
use super::keys::Key;
use super::tool::{self, Said};

/// Encrypts every layer and pushes them to a registry, as `to` (`127.0.0.1:PORT/NAME`).
#[must_use]
pub fn encrypt(image: &Image, to: &str, key: &Key) -> Said {
    let mut command = copy();
    command
        .arg("--encryption-key")
        .arg(key.encrypting())
        .args([image.reference(), docker(to)]);
    key.tell(&mut command);
    tool::run(&mut command)
}

/// Pushes them to a registry as they are.
#[must_use]
pub fn push(image: &Image, to: &str) -> Said {
    let mut command = copy();
    command.args([image.reference(), docker(to)]);
    tool::run(&mut command)
}

/// Decrypts an image of a registry into a layout. Without a key it copies what is encrypted, and that goes well.
#[must_use]
pub fn decrypt(from: &str, key: &Key) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let mut command = copy();
    command
        .arg("--decryption-key")
        .arg(key.decrypting())
        .arg(docker(from))
        .arg(format!("oci:{}:v1", folder.path().display()));
    key.tell(&mut command);
    tool::run(&mut command)
}

/// The manifest of an image of a registry.
#[must_use]
pub fn manifest(reference: &str) -> Value {
    serde_json::from_str(&raw_manifest(reference)).unwrap()
}

/// Its very bytes.
#[must_use]
pub fn raw_manifest(reference: &str) -> String {
    let mut command = tool::command("skopeo");
    command.args(["inspect", "--raw", "--tls-verify=false", &docker(reference)]);
    tool::run(&mut command).good()
}

fn copy() -> Command {
    let mut command = tool::command("skopeo");
    // No image here is signed.
    command.args(["--insecure-policy", "copy", "--quiet"]);
    command.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
    command
}

fn docker(reference: &str) -> String {
    format!("docker://{reference}")
}
