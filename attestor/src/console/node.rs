//! `touchstone node …`.

use clap::Subcommand;
use serde_json::json;
use touchstone_evidence::host_id::HostId;

use super::answers::rows;
use super::client::Client;
use super::output::{line, table, text};

/// `touchstone node …`
#[derive(Subcommand, Debug)]
pub enum Node {
    /// Say which host stands behind a node
    Map {
        /// Name of the Kubernetes node
        node: String,
        /// Name of the host
        host: HostId,
        /// Even if the node is mapped to another host until now
        #[arg(long)]
        replace: bool,
    },
    /// Say that no host stands behind a node any more: no pod that a policy is for runs there
    Unmap {
        /// Name of the Kubernetes node
        node: String,
    },
    /// List the nodes and the hosts behind them
    List,
}

/// Runs one of them.
pub(super) async fn run(client: &Client, json: bool, command: Node) -> anyhow::Result<()> {
    match command {
        Node::Map {
            node,
            host,
            replace,
        } => {
            let body = json!({ "node": node, "host": host, "replace": replace });
            let answer = client.post("/v1/nodes", &body).await?;
            line(json, &answer, || match text(&answer, "before").as_str() {
                "-" => format!("node {node} is host {host}"),
                before => format!("node {node} is host {host}, and {before} no more"),
            })
        }
        Node::Unmap { node } => {
            let body = json!({ "node": node });
            let answer = client.post("/v1/nodes/unmap", &body).await?;
            line(json, &answer, || {
                format!("node {node} is host {} no more", text(&answer, "host"))
            })
        }
        Node::List => {
            let answer = client.get("/v1/nodes").await?;
            let rows = rows(&answer, "nodes", |node| {
                ["node", "uid", "host", "by"]
                    .map(|part| text(node, part))
                    .to_vec()
            });
            table(json, &answer, &["node", "uid", "host", "by"], rows)
        }
    }
}
