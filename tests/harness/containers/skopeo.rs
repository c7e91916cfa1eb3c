//! skopeo, which encrypts images and moves them.

use serde_json::Value;
use touchstone_tpm_sim::containers::skopeo;

use super::image::Image;
use super::keys::Key;
use super::tool::{self, Said};

/// Encrypts every layer and pushes them to a registry, as `to` (`127.0.0.1:PORT/NAME`).
#[must_use]
pub fn encrypt(image: &Image, to: &str, key: &Key) -> Said {
    tool::run(&mut skopeo::encrypt(&image.reference(), to, key).unwrap())
}

/// The same for the layer above the busybox alone.
#[must_use]
pub fn encrypt_own_layer(image: &Image, to: &str, key: &Key) -> Said {
    let mut command = skopeo::encrypt(&image.reference(), to, key).unwrap();
    tool::run(command.args(["--encrypt-layer", "1"]))
}

/// Pushes them to a registry as they are.
#[must_use]
pub fn push(image: &Image, to: &str) -> Said {
    tool::run(&mut skopeo::push(&image.reference(), to).unwrap())
}

/// Decrypts an image of a registry into a layout. Without a key it copies what is encrypted, and that goes well.
#[must_use]
pub fn decrypt(from: &str, key: &Key) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let to = format!("oci:{}:v1", folder.path().display());
    tool::run(&mut skopeo::decrypt(from, &to, key).unwrap())
}

/// The manifest of an image of a registry.
#[must_use]
pub fn manifest(reference: &str) -> Value {
    serde_json::from_str(&raw_manifest(reference)).unwrap()
}

/// Its very bytes.
#[must_use]
pub fn raw_manifest(reference: &str) -> String {
    tool::run(&mut skopeo::manifest(reference).unwrap()).good()
}
