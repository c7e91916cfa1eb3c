//! `touchstone reference …`: known-good values out of a host's own proven boot.

use clap::Subcommand;
use serde_json::json;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::answers::rows;
use super::client::Client;
use super::output::{digits, line, moment, table, text};
use super::progress::waiting;

/// `touchstone reference …`
#[derive(Subcommand, Debug)]
pub enum Reference {
    /// Make a manifest of a host's last proven boot, print it, and keep it as pending
    ///
    /// A host says of itself what it booted: capture only from a machine that you know to be good.
    Capture {
        /// The host
        host: HostId,
        /// Name of the `ReferenceValues`; by default that of the host
        #[arg(long)]
        name: Option<String>,
        /// Even if the host is contraindicated, as the first of its kind is whose values are not there yet
        #[arg(long)]
        anyway: bool,
    },
    /// List values that are pending
    List,
    /// Put pending values into force, in a new version of the manifests
    ///
    /// They take the place of `ReferenceValues` of the same name, or are added. They count for hosts whose
    /// `HostPolicy` names them.
    Activate {
        /// Their name
        name: String,
        /// Only if this is the SHA-256 of their manifest, as `reference capture` says it
        #[arg(long)]
        manifest: Option<Sha256Digest>,
        /// Even if more than a third of the affirming hosts would fall; the audit log says so
        #[arg(long)]
        drain: bool,
    },
}

/// Runs one of them.
pub(super) async fn run(client: &Client, json: bool, command: Reference) -> anyhow::Result<()> {
    match command {
        Reference::Capture { host, name, anyway } => {
            let name = name.unwrap_or_else(|| host.to_string());
            let body = json!({ "host": host, "name": name, "anyway": anyway });
            let answer = client.post("/v1/references", &body).await?;
            if !json {
                eprintln!(
                    "pending; next: look at it, then `touchstone reference activate {name} --manifest {}`",
                    text(&answer, "manifest_digest")
                );
            }
            line(json, &answer, || {
                text(&answer, "manifest").trim_end().to_owned()
            })
        }
        Reference::List => {
            let answer = client.get("/v1/references").await?;
            let rows = rows(&answer, "references", |one| {
                vec![
                    text(one, "name"),
                    text(one, "host"),
                    moment(one, "captured_at"),
                    digits(&text(one, "evidence")),
                ]
            });
            table(
                json,
                &answer,
                &["pending", "of host", "captured", "evidence"],
                rows,
            )
        }
        Reference::Activate {
            name,
            manifest,
            drain,
        } => {
            let body = json!({ "name": name, "manifest": manifest, "drain": drain });
            let work = client.post_slowly("/v1/references/activate", &body);
            let answer = waiting("judging every host", work).await?;
            line(json, &answer, || {
                format!(
                    "`{name}` is active in policy version {}; `touchstone policy show` prints it for your repository",
                    text(&answer, "version")
                )
            })
        }
    }
}
