//! `touchstone inventory oem`: makers whose platform certificates put machines into the inventory.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use touchstone_evidence::encoded::Bytes;
use x509_parser::pem::Pem;

use crate::console::answers::rows;
use crate::console::client::Client;
use crate::console::output::{line, moment, table, text};

/// `touchstone inventory oem …`
#[derive(Subcommand, Debug)]
pub enum Oem {
    /// Believe the platform certificates that this maker signs: a machine whose TPM one of them names enters
    /// the inventory when it enrols
    Add {
        /// The certificate whose key signs platform certificates, DER or PEM; it needs no chain
        #[arg(long)]
        certificate: PathBuf,
        /// How the names of its machines begin; the platform's serial number follows, e.g. rack-
        #[arg(long)]
        host_prefix: String,
    },
    /// List makers
    List,
}

pub(super) async fn oem(client: &Client, json: bool, command: Oem) -> anyhow::Result<()> {
    match command {
        Oem::Add {
            certificate,
            host_prefix,
        } => {
            let der: Bytes<16384> = certificate_der(&certificate)?.into();
            let body = json!({ "certificate": der, "host_prefix": host_prefix });
            let answer = client.post("/v1/oems", &body).await?;
            line(json, &answer, || {
                format!(
                    "platform certificates of {} are believed; its machines are called {host_prefix}SERIAL",
                    text(&answer, "subject")
                )
            })?;
        }
        Oem::List => {
            let answer = client.get("/v1/oems").await?;
            let rows = rows(&answer, "oems", |oem| {
                vec![
                    text(oem, "subject"),
                    text(oem, "host_prefix"),
                    moment(oem, "not_after"),
                    text(oem, "digest"),
                ]
            });
            let header = ["maker", "host prefix", "valid until", "certificate"];
            table(json, &answer, &header, rows)?;
        }
    }
    Ok(())
}

/// A certificate out of a file, DER or PEM.
fn certificate_der(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    match bytes.starts_with(b"-----") {
        true => Pem::iter_from_buffer(&bytes)
            .next()
            .and_then(Result::ok)
            .map(|pem| pem.contents)
            .with_context(|| format!("`{}` holds no PEM certificate", path.display())),
        false => Ok(bytes),
    }
}
