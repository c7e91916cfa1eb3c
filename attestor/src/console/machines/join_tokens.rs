//! `touchstone join-token`: what lets a machine of the inventory enrol.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::Subcommand;
use serde_json::{Value, json};
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::wire;

use crate::console::answers::rows;
use crate::console::client::Client;
use crate::console::output::{line, moment, table, text};
use crate::keys;

/// `touchstone join-token …`
#[derive(Subcommand, Debug)]
pub enum JoinToken {
    /// Make a token: it names this attestor and its CA, and allows machines of the inventory to enrol
    Create {
        /// File to write it to, mode 0600; without it, standard output
        #[arg(long)]
        out: Option<PathBuf>,
        /// Seconds that it lives, at most a week
        #[arg(long, default_value_t = 3600)]
        lifetime_seconds: u32,
        /// The only machine that may enrol with it
        #[arg(long)]
        host: Option<HostId>,
        /// How many enrolments it is good for; without it, any number within its lifetime
        #[arg(long)]
        uses: Option<u32>,
        /// Where agents that enrol with it reach an attestor: `server` of `cluster.json` for hosts of a cluster that
        /// `touchstone kubernetes` serves. By default the attestor that is asked
        #[arg(long, value_name = "URL", value_parser = url)]
        server: Option<String>,
    },
    /// List tokens; their secrets are known to nobody but who has them
    List,
    /// Revoke a token, at once
    Revoke {
        /// Its id, as `list` shows it, or the first 8 digits
        id: String,
    },
}

pub(in crate::console) async fn join_token(
    client: &Client,
    json: bool,
    command: JoinToken,
) -> anyhow::Result<()> {
    match command {
        JoinToken::Create {
            out,
            lifetime_seconds,
            host,
            uses,
            server,
        } => {
            let body = json!({ "lifetime_seconds": lifetime_seconds, "host": host, "uses": uses });
            create_token(client, json, out.as_deref(), server, &body).await
        }
        JoinToken::List => list_tokens(client, json).await,
        JoinToken::Revoke { id } => {
            let answer = client
                .post("/v1/join-tokens/revoke", &json!({ "id": id }))
                .await?;
            line(json, &answer, || {
                format!("join token {} is revoked", text(&answer, "id"))
            })?;
            Ok(())
        }
    }
}

async fn create_token(
    client: &Client,
    json: bool,
    out: Option<&Path>,
    server: Option<String>,
    body: &Value,
) -> anyhow::Result<()> {
    if let Some(path) = out {
        ensure!(
            !path.exists(),
            "`{}` is there already; name another file",
            path.display()
        );
    }
    let mut answer = client.post("/v1/join-tokens", body).await?;
    if let Some(server) = server {
        let mut token: wire::JoinToken = text(&answer, "token").parse()?;
        token.server = server;
        if let Some(text) = answer.get_mut("token") {
            *text = token.to_text().into();
        }
    }
    let token = text(&answer, "token");
    let Some(path) = out else {
        line(json, &answer, || token)?;
        return Ok(());
    };
    keys::write_private(path, token.as_bytes())?;
    let id = text(&answer, "id");
    let answer = json!({ "file": path, "id": id, "expires_at": answer.get("expires_at") });
    line(json, &answer, || {
        format!(
            "wrote {} (id {id}); on the machine: touchstone-agent enrol --join-token FILE",
            path.display()
        )
    })?;
    Ok(())
}

fn url(text: &str) -> Result<String, String> {
    match text.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("write it as `https://NAME:PORT`".to_owned()),
    }
}

async fn list_tokens(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/join-tokens").await?;
    let rows = rows(&answer, "join_tokens", |token| {
        let uses = match text(token, "uses_max").as_str() {
            "-" => text(token, "uses"),
            most => format!("{} of {most}", text(token, "uses")),
        };
        let revoked = match moment(token, "revoked_at").as_str() {
            "-" => String::new(),
            moment => format!("revoked {moment}"),
        };
        vec![
            text(token, "id"),
            moment(token, "expires_at"),
            text(token, "host"),
            uses,
            revoked,
        ]
    });
    let header = ["id", "expires", "only for", "uses", ""];
    table(json, &answer, &header, rows)?;
    Ok(())
}
