//! A tiny image, made without a network: a static busybox in its lowest layer, and in each above it one file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;

use super::error::write;
use super::{Error, Result, tool};

const TYPES: &str = "application/vnd.oci.image";
/// What the lowest layer of an image that runs holds.
const BUSYBOX: &str = "bin/busybox";
/// What the only layer of an image that waits holds.
const PAUSE: &str = "pause/busybox";

/// An image in an OCI layout.
#[derive(Debug)]
pub struct Image {
    layout: PathBuf,
    /// The layers' digests in clear, `sha256:…`, the lowest first.
    pub layers: Vec<String>,
}

impl Image {
    /// Makes one in `folder` that runs `command` of busybox, with one file more. Its layers are two.
    ///
    /// # Errors
    /// busybox is missing, or `folder` cannot be written to.
    pub fn running(folder: &Path, command: &[&str], file: (&str, &[u8])) -> Result<Self> {
        let path = tool::path_of("busybox")?;
        let busybox = fs::read(&path).map_err(Error::file(&path))?;
        let entrypoint: Vec<String> = [format!("/{BUSYBOX}")]
            .into_iter()
            .chain(command.iter().map(|&word| word.to_owned()))
            .collect();
        Self::make(folder, &entrypoint, &[(BUSYBOX, &busybox), file])
    }

    /// Makes one in `folder` that waits, as Kubernetes' pause does, in one layer that no other image here has.
    ///
    /// # Errors
    /// As [`Image::running`].
    pub fn waiting(folder: &Path) -> Result<Self> {
        let path = tool::path_of("busybox")?;
        let busybox = fs::read(&path).map_err(Error::file(&path))?;
        let entrypoint = [&format!("/{PAUSE}"), "sleep", "2147483647"].map(str::to_owned);
        Self::make(folder, &entrypoint, &[(PAUSE, &busybox)])
    }

    /// Makes one in `folder` that runs nothing and holds one file, in one layer.
    ///
    /// # Errors
    /// `folder` cannot be written to.
    pub fn holding(folder: &Path, file: (&str, &[u8])) -> Result<Self> {
        Self::make(folder, &[], &[file])
    }

    /// As skopeo names it.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("oci:{}:v1", self.layout.display())
    }

    fn make(folder: &Path, entrypoint: &[String], files: &[(&str, &[u8])]) -> Result<Self> {
        let layout = folder.join("layout");
        let mut descriptors = Vec::new();
        let mut layers = Vec::new();
        for (file, content) in files {
            let tar = layer(folder, file, content)?;
            descriptors.push(blob(&layout, "layer.v1.tar", &tar)?);
            layers.push(digest(&tar));
        }
        let config = config(entrypoint, &layers);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": format!("{TYPES}.manifest.v1+json"),
            "config": blob(&layout, "config.v1+json", &config)?,
            "layers": descriptors,
        });
        let mut manifest = blob(&layout, "manifest.v1+json", manifest.to_string().as_bytes())?;
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        write(&layout.join("index.json"), index.to_string())?;
        let version = json!({"imageLayoutVersion": "1.0.0"});
        write(&layout.join("oci-layout"), version.to_string())?;
        Ok(Self { layout, layers })
    }
}

/// A layer with one file.
fn layer(work: &Path, file: &str, content: &[u8]) -> Result<Vec<u8>> {
    let root = work.join("root");
    write(&root.join(file), content)?;
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--mode=755"])
        .args(["--mtime=@0", "-cf", "-", "-C"])
        .arg(&root)
        .arg(file)
        .stdin(Stdio::null());
    let output = tar.output().map_err(Error::file(&root))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(Error::Failed {
            program: "tar",
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

fn config(entrypoint: &[String], layers: &[String]) -> Vec<u8> {
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": entrypoint},
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
fn blob(layout: &Path, kind: &str, content: &[u8]) -> Result<Value> {
    let name = Sha256Digest::of(content).to_string();
    write(&layout.join("blobs/sha256").join(name), content)?;
    Ok(json!({
        "mediaType": format!("{TYPES}.{kind}"),
        "digest": digest(content),
        "size": content.len(),
    }))
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(content))
}
