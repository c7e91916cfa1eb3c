//! `/v1/nodes`: which host stands behind a Kubernetes node, in the operator's word.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use touchstone_evidence::host_id::HostId;

use super::{Acting, Body};
use crate::audit::{Entry, Event};
use crate::clock;
use crate::http::App;
use crate::http::problem::Problem;

#[derive(Serialize)]
pub(super) struct Node {
    node: String,
    host: HostId,
}

/// A mapping that is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    node: String,
    host: HostId,
    /// Whether it may take the place of a mapping to another host.
    #[serde(default)]
    replace: bool,
}

/// A mapping that is new.
#[derive(Serialize)]
pub(super) struct Mapped {
    node: String,
    host: HostId,
    /// The other host that stood behind the node until now.
    before: Option<HostId>,
}

/// DNS-1123 subdomain, as Kubernetes names nodes.
const NODE_NAME_MAX: usize = 253;

/// All mappings, by node.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let nodes = app.attestor.store.read().await?.nodes().await?;
    let nodes: Vec<Node> = nodes
        .into_iter()
        .map(|(node, host)| Node { node, host })
        .collect();
    Ok(Json(json!({ "nodes": nodes })))
}

/// Maps a node to a host.
pub(super) async fn map(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Mapped>, Problem> {
    let Wanted {
        node,
        host,
        replace,
    } = wanted;
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if !(1..=NODE_NAME_MAX).contains(&node.len()) || !node.bytes().all(allowed) {
        return Err(refused(
            "node-name",
            "this is not the name of a Kubernetes node",
        ));
    }
    let mut tx = app.attestor.store.write().await?;
    if tx.eks_of(&host).await?.is_empty() {
        return Err(refused(
            "host-not-in-inventory",
            "the inventory has no such machine; add it with `touchstone inventory add`",
        ));
    }
    let before = tx.host_of_node(&node).await?;
    let before = before.filter(|before| *before != host);
    if let Some(before) = before.as_ref().filter(|_| !replace) {
        let detail = format!(
            "node `{node}` is mapped to host `{before}`; if it stands on `{host}` now, say so with --replace"
        );
        return Err(refused("node-mapped-elsewhere", &detail));
    }
    tx.map_node(&node, &host).await?;
    let event = Event::NodeMapped {
        node: node.clone(),
        host: host.clone(),
        before: before.clone(),
    };
    let order = Entry::new(&event, &actor, clock::now())?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    app.attestor
        .index
        .put_node(order, node.clone(), host.clone());
    Ok(Json(Mapped { node, host, before }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unmapped {
    node: String,
}

/// Maps a node to no host any more: no pod that a policy is for may run there.
pub(super) async fn unmap(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(Unmapped { node }): Body<Unmapped>,
) -> Result<Json<Node>, Problem> {
    let mut tx = app.attestor.store.write().await?;
    let host = tx.host_of_node(&node).await?;
    let host = host.ok_or_else(|| {
        let detail = "this node is mapped to no host; see `touchstone node list`";
        Problem::refused(StatusCode::NOT_FOUND, "node-not-mapped", detail)
    })?;
    tx.unmap_node(&node).await?;
    let event = Event::NodeUnmapped {
        node: node.clone(),
        host: host.clone(),
    };
    let order = Entry::new(&event, &actor, clock::now())?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    app.attestor.index.drop_node(order, node.clone());
    Ok(Json(Node { node, host }))
}

fn refused(code: &str, detail: &str) -> Problem {
    Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}
