//! `touchstone node …`.

use clap::Subcommand;
use serde_json::{Value, json};
use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::cluster_name::ClusterName;

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
        /// The cluster that the node is in; by default the one of the attestor that is asked, `default` if nobody named it
        #[arg(long)]
        cluster: Option<ClusterName>,
        /// Which node of that name: `metadata.uid`. Needed in a cluster that the attestor that is asked does not see
        #[arg(long)]
        uid: Option<String>,
        /// Even if the node is mapped to another host until now
        #[arg(long)]
        replace: bool,
    },
    /// Say that no host stands behind a node any more: no pod that a policy is for runs there
    Unmap {
        /// Name of the Kubernetes node
        node: String,
        /// The cluster that the node is in; by default the one of the attestor that is asked
        #[arg(long)]
        cluster: Option<ClusterName>,
    },
    /// List the nodes and the hosts behind them
    List {
        /// Only those of this cluster
        #[arg(long)]
        cluster: Option<ClusterName>,
    },
}

/// Runs one of them.
pub(super) async fn run(client: &Client, json: bool, command: Node) -> anyhow::Result<()> {
    match command {
        Node::Map {
            node,
            host,
            cluster,
            uid,
            replace,
        } => {
            let body = json!({
                "cluster": cluster, "node": node, "uid": uid, "host": host, "replace": replace,
            });
            let answer = client.post("/v1/nodes", &body).await?;
            let node = qualified(&answer, "node");
            line(json, &answer, || match text(&answer, "before").as_str() {
                "-" => format!("node {node} is host {host}"),
                before => format!("node {node} is host {host}, and {before} no more"),
            })
        }
        Node::Unmap { node, cluster } => {
            let body = json!({ "cluster": cluster, "node": node });
            let answer = client.post("/v1/nodes/unmap", &body).await?;
            line(json, &answer, || {
                let (node, host) = (qualified(&answer, "node"), text(&answer, "host"));
                format!("node {node} is host {host} no more")
            })
        }
        Node::List { cluster } => {
            let cluster = cluster
                .as_ref()
                .map(|cluster| ("cluster", cluster.as_str()));
            let answer = client.get_where("/v1/nodes", cluster.as_slice()).await?;
            let header = ["cluster", "node", "uid", "host", "by"];
            let rows = rows(&answer, "nodes", |node| {
                header.map(|part| text(node, part)).to_vec()
            });
            table(json, &answer, &header, rows)
        }
    }
}

/// A name within a cluster, with the cluster where it was named.
pub(super) fn qualified(object: &Value, name: &str) -> String {
    let cluster = object.get("cluster").and_then(Value::as_str);
    let cluster: Option<ClusterName> = cluster.and_then(|cluster| cluster.parse().ok());
    cluster.unwrap_or_default().qualify(&text(object, name))
}
