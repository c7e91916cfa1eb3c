//! `touchstone image …`: what publishers say that they made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client as Registry, Reference};
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::oci_manifest::{Index, Manifest, ManifestError};

use super::answers::{items, rows};
use super::client::Client;
use super::output::{cut, moment, print, table, text};
use crate::registries::{Credentials, MEDIA_TYPES, is_here};

/// How long a registry may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// `touchstone image …`
#[derive(Subcommand, Debug)]
pub enum Image {
    /// Register an image as the registry has it now, by the digest of its manifest; of an index, each platform's
    Register {
        /// The image, as for skopeo without `docker://`: `registry.example/payments:1`
        reference: String,
        /// Ask the registry without TLS; only one on this machine
        #[arg(long)]
        plain_http: bool,
        /// File with the registry's credential, as `skopeo login` writes it
        #[arg(long, env = "REGISTRY_AUTH_FILE")]
        authfile: Option<PathBuf>,
    },
    /// List registered images
    List,
}

/// Runs one of them.
pub(super) async fn run(client: &Client, json: bool, command: Image) -> anyhow::Result<()> {
    match command {
        Image::Register {
            reference,
            plain_http,
            authfile,
        } => {
            let source = Source::of(&reference, plain_http, authfile.as_deref())?;
            let mut registered = Vec::new();
            for manifest in source.manifests().await? {
                let manifest = URL_SAFE_NO_PAD.encode(manifest);
                let body = json!({ "reference": reference, "manifest": manifest });
                registered.push(client.post("/v1/images", &body).await?);
            }
            let answer = json!({ "images": registered });
            show(json, &answer)?;
            how_to_pull(json, &reference, &answer)
        }
        Image::List => show(json, &client.get("/v1/images").await?),
    }
}

fn encrypted(image: &Value) -> usize {
    let is = |layer: &&Value| layer.get("encrypted") == Some(&Value::Bool(true));
    items(image, "layers").filter(is).count()
}

/// A table, and below it each digest in one piece, as podman wants it.
fn show(json: bool, answer: &Value) -> anyhow::Result<()> {
    let rows = rows(answer, "images", |image| {
        let layers = items(image, "layers").count();
        vec![
            text(image, "reference"),
            cut(&text(image, "manifest")),
            format!("{} of {layers}", encrypted(image)),
            text(image, "publisher"),
            moment(image, "registered_at"),
        ]
    });
    let header = [
        "image",
        "manifest",
        "encrypted layers",
        "publisher",
        "registered",
    ];
    table(json, answer, &header, rows)?;
    if !json {
        for image in items(answer, "images") {
            let (manifest, reference) = (text(image, "manifest"), text(image, "reference"));
            print(&format!("{manifest} {reference}\n"))?;
        }
    }
    Ok(())
}

/// What a host is told of an image that was registered: a line for each manifest that has something to open.
fn how_to_pull(json: bool, reference: &str, answer: &Value) -> anyhow::Result<()> {
    let sealed: Vec<&Value> = items(answer, "images")
        .filter(|image| encrypted(image) > 0)
        .collect();
    if sealed.is_empty() {
        eprintln!(
            "warning: no layer of `{reference}` is encrypted, so every host can read it; encrypt it with `skopeo copy \
             --encryption-key provider:touchstone:KEY`, then register what that wrote"
        );
    }
    if json || sealed.is_empty() {
        return Ok(());
    }
    print(match sealed.len() {
        1 => "on a host, as root:\n",
        _ => "on a host, as root, the line of its platform:\n",
    })?;
    for image in sealed {
        let manifest = text(image, "manifest");
        print(&format!(
            "podman pull --decryption-key provider:touchstone:node@{manifest} {reference}\n"
        ))?;
    }
    Ok(())
}

/// An image at its registry.
struct Source {
    registry: Registry,
    reference: Reference,
    auth: RegistryAuth,
    plain_http: bool,
}

impl Source {
    fn of(text: &str, plain_http: bool, authfile: Option<&Path>) -> anyhow::Result<Self> {
        let reference: Reference = text
            .parse()
            .with_context(|| format!("`{text}` names no image; write `REGISTRY/NAME:TAG`"))?;
        let host = reference.resolve_registry().to_owned();
        let protocol = match plain_http {
            true => {
                ensure!(
                    is_here(&host),
                    "`{host}` is not on this machine, and without TLS anybody on the way could send another manifest; \
                     leave out --plain-http"
                );
                ClientProtocol::HttpsExcept(vec![host.clone()])
            }
            false => ClientProtocol::Https,
        };
        let registry = Registry::try_from(ClientConfig {
            protocol,
            read_timeout: Some(PATIENCE),
            connect_timeout: Some(PATIENCE),
            ..ClientConfig::default()
        })?;
        let auth = match authfile {
            Some(file) => Credentials::read(file)?.of(&reference)?,
            None => None,
        };
        let auth = auth.map_or(RegistryAuth::Anonymous, |login| {
            RegistryAuth::Basic(login.name.clone(), login.password.clone())
        });
        Ok(Self {
            registry,
            reference,
            auth,
            plain_http,
        })
    }

    /// The manifest, or those of an index, byte for byte.
    async fn manifests(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let first = self.pull(&self.reference).await?;
        match Manifest::parse(&first) {
            Err(ManifestError::Index) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(vec![first]),
        }
        let index = Index::parse(&first).context("the index cannot be read")?;
        let mut all = Vec::new();
        for digest in index.manifests {
            let one = self.reference.clone_with_digest(digest.to_string());
            let manifest = self.pull(&one).await?;
            ensure!(
                OciDigest(Sha256Digest::of(&manifest)) == digest,
                "the registry sent another manifest than `{digest}`; ask it again"
            );
            all.push(manifest);
        }
        Ok(all)
    }

    async fn pull(&self, reference: &Reference) -> anyhow::Result<Vec<u8>> {
        let pulled = self
            .registry
            .pull_manifest_raw(reference, &self.auth, &MEDIA_TYPES)
            .await;
        let (manifest, _) = pulled.map_err(|error| {
            let said = self.said(reference, &error);
            anyhow::Error::new(error).context(said)
        })?;
        let here = OciDigest(Sha256Digest::of(&manifest));
        if let Some(named) = reference.digest() {
            ensure!(
                named == here.to_string(),
                "the registry sent another manifest than `{named}`; ask it again"
            );
        }
        Ok(manifest.to_vec())
    }

    /// Why there is no manifest, and what to do.
    fn said(&self, reference: &Reference, error: &OciDistributionError) -> String {
        match error {
            OciDistributionError::RequestError(error) if error.is_connect() && !self.plain_http => {
                format!(
                    "cannot speak TLS with `{}`; see that the registry is there, and that this machine trusts its \
                     certificate; one on this machine that has no TLS is asked with `--plain-http`",
                    reference.resolve_registry()
                )
            }
            _ => format!(
                "no manifest of `{reference}`; see that it was pushed, and that `--authfile` has a credential for the \
                 registry"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn only_a_registry_on_this_machine_is_asked_without_tls() {
        let refused = Source::of("registry.example/a:1", true, None)
            .err()
            .unwrap();
        assert!(refused.to_string().contains("leave out --plain-http"));
    }
}
