//! A tiny image, made without a network: a static busybox in one layer, a secret in the other.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use touchstone_evidence::digest::Sha256Digest;

use super::tool;

const TYPES: &str = "application/vnd.oci.image";

/// An image in an OCI layout, which goes with this value. It runs by saying its secret.
pub struct Image {
    folder: TempDir,
    /// The layers' digests in clear, `sha256:…`, the lowest first.
    pub layers: [String; 2],
}

impl Image {
    /// A new one.
    #[must_use]
    pub fn saying(secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        let busybox = fs::read(tool::path_of("busybox")).unwrap();
        let layers = [
            layer(folder.path(), "bin/busybox", &busybox),
            layer(folder.path(), "secret", secret.as_bytes()),
        ];
        let layers = layers.map(|tar| blob(&layout, "layer.v1.tar", &tar));
        let digests = layers.clone().map(|layer| digest(&layer));
        let config = blob(&layout, "config.v1+json", &config(&digests));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": format!("{TYPES}.manifest.v1+json"),
            "config": config,
            "layers": layers,
        });
        let mut manifest = blob(&layout, "manifest.v1+json", manifest.to_string().as_bytes());
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        let version = json!({"imageLayoutVersion": "1.0.0"});
        fs::write(layout.join("oci-layout"), version.to_string()).unwrap();
        Self {
            folder,
            layers: digests,
        }
    }

    /// As skopeo names it.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("oci:{}:v1", self.folder.path().join("layout").display())
    }
}

/// A layer with one file.
fn layer(work: &Path, file: &str, content: &[u8]) -> Vec<u8> {
    let root = work.join("root");
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--mode=755"])
        .args(["--mtime=@0", "-cf", "-", "-C"])
        .arg(&root)
        .arg(file);
    let output = tar.output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn config(layers: &[String]) -> Vec<u8> {
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox", "cat", "/secret"]},
        "rootfs": {"type": "layers", "diff_ids": layers},
    });
    config.to_string().into_bytes()
}

/// As Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Keeps a blob; its descriptor.
fn blob(layout: &Path, kind: &str, content: &[u8]) -> Value {
    let digest = Sha256Digest::of(content);
    fs::write(layout.join(format!("blobs/sha256/{digest}")), content).unwrap();
    json!({
        "mediaType": format!("{TYPES}.{kind}"),
        "digest": format!("sha256:{digest}"),
        "size": content.len(),
    })
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}
