//! `/v1/nodes`: which host stands behind a Kubernetes node, and the operator's word on it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_policies::prose;

use super::{Acting, Body};
use crate::audit::{Entry, Event};
use crate::clock;
use crate::http::App;
use crate::http::problem::Problem;
use crate::store::MappedNode;

#[derive(Serialize)]
pub(super) struct Node {
    cluster: ClusterName,
    node: String,
    /// Which node of that name; absent where the attestor saw no cluster when it was mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    host: HostId,
    /// `operator` or `token`.
    by: &'static str,
    /// SHA-256 of the token that showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Sha256Digest>,
}

impl From<MappedNode> for Node {
    fn from(mapped: MappedNode) -> Self {
        let MappedNode {
            cluster,
            node,
            uid,
            host,
            token,
            booted_at: _,
        } = mapped;
        Self {
            cluster,
            node,
            uid,
            host,
            by: if token.is_some() { "token" } else { "operator" },
            token,
        }
    }
}

/// A mapping that is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `None`: the one of this attestor.
    cluster: Option<ClusterName>,
    node: String,
    /// Which node of that name. Needed for a cluster that this attestor does not see.
    uid: Option<String>,
    host: HostId,
    /// Whether it may take the place of a mapping to another host.
    #[serde(default)]
    replace: bool,
}

/// A mapping that is new.
#[derive(Serialize)]
pub(super) struct Mapped {
    cluster: ClusterName,
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    host: HostId,
    /// The other host that stood behind the node until now.
    before: Option<HostId>,
}

/// DNS-1123 subdomain, as Kubernetes names nodes.
const NODE_NAME_MAX: usize = 253;

/// Which mappings are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// `None`: those of all clusters.
    cluster: Option<ClusterName>,
}

/// All mappings, or those of a cluster, by cluster and node.
pub(super) async fn list(
    State(app): State<App>,
    listed: Result<Query<Listed>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Listed { cluster }) = listed?;
    let mut nodes = app.attestor.store.read().await?.nodes().await?;
    if let Some(cluster) = cluster {
        nodes.retain(|mapped| mapped.cluster == cluster);
    }
    let nodes: Vec<Node> = nodes.into_iter().map(Node::from).collect();
    Ok(Json(json!({ "nodes": nodes })))
}

/// Maps a node to a host.
pub(super) async fn map(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Mapped>, Problem> {
    let Wanted {
        cluster,
        node,
        uid,
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
    let cluster = cluster.unwrap_or_else(|| app.attestor.cluster.clone());
    let uid = match cluster == app.attestor.cluster {
        true => uid_in_cluster(&app, &node, uid).await?,
        false => Some(uid_elsewhere(&cluster, uid)?),
    };
    let mut tx = app.attestor.store.write().await?;
    if tx.eks_of(&host).await?.is_empty() {
        let detail = format!(
            "the inventory has no machine called `{host}`; add it with `touchstone inventory add`"
        );
        return Err(refused("host-not-in-inventory", &detail));
    }
    let before = tx.mapped_node(&cluster, &node).await?;
    let before = before.map(|mapped| mapped.host);
    let before = before.filter(|before| *before != host);
    if let Some(before) = before.as_ref().filter(|_| !replace) {
        let detail = format!(
            "node `{}` is mapped to host `{before}`; if it stands on `{host}` now, say so with --replace",
            cluster.qualify(&node)
        );
        return Err(refused("node-mapped-elsewhere", &detail));
    }
    let mapped = MappedNode {
        cluster: cluster.clone(),
        node: node.clone(),
        uid: uid.clone(),
        host: host.clone(),
        token: None,
        booted_at: None,
    };
    tx.map_node(&mapped).await?;
    let event = Event::NodeMapped {
        cluster: cluster.clone(),
        node: node.clone(),
        uid: uid.clone(),
        host: host.clone(),
        before: before.clone(),
        by: None,
    };
    let order = Entry::new(&event, &actor, clock::now())?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    app.attestor.index.put_node(order, mapped);
    Ok(Json(Mapped {
        cluster,
        node,
        uid,
        host,
        before,
    }))
}

/// Which node of that name the operator means in a cluster that this attestor does not see: only who looks there knows.
fn uid_elsewhere(cluster: &ClusterName, uid: Option<String>) -> Result<String, Problem> {
    uid.filter(|uid| is_uid(uid)).ok_or_else(|| {
        let detail = format!(
            "this attestor does not see the cluster `{cluster}`; say with --uid which node of that name is meant: there, \
             `kubectl get node NODE -o jsonpath={{.metadata.uid}}`"
        );
        refused("node-uid-missing", &detail)
    })
}

/// A command that found nothing must not map a node that nobody has.
fn is_uid(uid: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=64).contains(&uid.len()) && uid.bytes().all(allowed)
}

/// Which node of that name the operator means: the one that is there now.
async fn uid_in_cluster(
    app: &App,
    node: &str,
    meant: Option<String>,
) -> Result<Option<String>, Problem> {
    let Some(cluster) = &app.webhook.cluster else {
        return match meant.as_deref().is_none_or(is_uid) {
            true => Ok(meant),
            false => Err(refused(
                "node-uid-missing",
                "--uid says nothing that can be a uid; leave it out, or say what `kubectl get node NODE -o \
                 jsonpath={.metadata.uid}` says in that cluster",
            )),
        };
    };
    let found = cluster.node_now(node).await.map_err(|error| {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, k8s.node = node, "a node could not be looked up");
        Problem::refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "cluster-away",
            "the cluster's API server does not answer, so that it is not known which node is meant; try again",
        )
    })?;
    if let Some(doubt) = app.webhook.identity.doubt() {
        let (code, why) = (&doubt.code, prose::sentence(&doubt));
        return Err(Problem::refused(StatusCode::SERVICE_UNAVAILABLE, code, why));
    }
    match found.and_then(|node| node.metadata.uid.clone()) {
        Some(uid) if meant.is_none_or(|meant| meant == uid) => Ok(Some(uid)),
        _ => Err(refused(
            "node-not-in-cluster",
            "the cluster has no node of this name, or another one than --uid says; see `kubectl get nodes`",
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unmapped {
    /// `None`: the one of this attestor.
    cluster: Option<ClusterName>,
    node: String,
}

/// Maps a node to no host any more: no pod that a policy is for may run there.
pub(super) async fn unmap(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(Unmapped { cluster, node }): Body<Unmapped>,
) -> Result<Json<Node>, Problem> {
    let mut tx = app.attestor.store.write().await?;
    let cluster = cluster.unwrap_or_else(|| app.attestor.cluster.clone());
    let mapped = tx.mapped_node(&cluster, &node).await?;
    let mapped = mapped.ok_or_else(|| {
        let node = cluster.qualify(&node);
        let detail = format!("`{node}` is mapped to no host; see `touchstone node list`");
        Problem::refused(StatusCode::NOT_FOUND, "node-not-mapped", &detail)
    })?;
    tx.unmap_node(&cluster, &node).await?;
    let event = Event::NodeUnmapped {
        cluster: cluster.clone(),
        node: node.clone(),
        host: mapped.host.clone(),
    };
    let order = Entry::new(&event, &actor, clock::now())?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    app.attestor.index.drop_node(order, cluster, node);
    Ok(Json(mapped.into()))
}

fn refused(code: &str, detail: &str) -> Problem {
    Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}
