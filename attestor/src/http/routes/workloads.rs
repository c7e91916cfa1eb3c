//! `/v1/workloads`: what workloads were made of, and which of their pods came after which, from host to host.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::cluster_name::ClusterName;

use crate::http::App;
use crate::http::problem::Problem;
use crate::store::{AfterWorkload, KeptMove, StoreError, WorkloadRecord};
use crate::workloads::{self, MadeImage};

/// Most workloads in one answer.
const PAGE: i64 = 500;
/// Most workloads of one name: the latest.
const NAMED: i64 = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    cluster: Option<ClusterName>,
    namespace: Option<String>,
    after: Option<String>,
}

/// A page of workloads: all, or those of a cluster, of a namespace, or of both.
pub(super) async fn list(
    State(app): State<App>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Wanted {
        cluster,
        namespace,
        after,
    }) = wanted?;
    let after = after.as_deref().map(read_after).transpose()?;
    let mut tx = app.attestor.store.read().await?;
    let after = after.unwrap_or_default();
    let mut page = tx
        .workloads(
            cluster.as_ref(),
            namespace.as_deref(),
            &after,
            PAGE.saturating_add(1),
        )
        .await?;
    let whole = usize::try_from(PAGE).unwrap_or_default();
    let more = page.len() > whole;
    page.truncate(whole);
    let last = page.last().filter(|_| more);
    let views = page.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(json!({
        "workloads": views.into_iter().map(Value::Object).collect::<Vec<_>>(),
        "next": last.map(written_after),
    })))
}

/// The workloads of one name, with their moves.
pub(super) async fn show(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path((namespace, name)) = path?;
    let mut tx = app.attestor.store.read().await?;
    let mut views = Vec::new();
    for record in tx.workloads_named(&namespace, &name, NAMED).await? {
        let mut view = view(&record)?;
        let moves = tx.moves_of(&record.id).await?;
        let moves = moves.iter().map(move_view).collect::<Result<Vec<_>, _>>()?;
        view.insert("moves".to_owned(), moves.into());
        views.push(Value::Object(view));
    }
    if views.is_empty() {
        let detail = format_args!(
            "no pod of `{namespace}/{name}` was admitted under a policy yet, or its record went; \
             `touchstone workload list` shows those that are kept"
        );
        return Err(Problem::refused(
            StatusCode::NOT_FOUND,
            "workload-unknown",
            detail,
        ));
    }
    Ok(Json(json!({ "workloads": views })))
}

fn view(record: &WorkloadRecord) -> Result<Map<String, Value>, StoreError> {
    let images: Vec<MadeImage> = workloads::images(record)?;
    let view = json!({
        "cluster": record.cluster,
        "namespace": record.namespace,
        "kind": record.kind,
        "name": record.name,
        "uid": record.uid,
        "revision": record.revision,
        "images": images,
        "entry": record.entry,
        "recorded_at": record.recorded_at,
        "seen_at": record.seen_at,
    });
    match view {
        Value::Object(view) => Ok(view),
        _ => Err(StoreError::Malformed("workload")),
    }
}

fn move_view(kept: &KeptMove) -> Result<Value, StoreError> {
    let body: Map<String, Value> =
        serde_json::from_str(&kept.body).map_err(|_| StoreError::Malformed("move"))?;
    let part = |name: &str| body.get(name).cloned().unwrap_or_default();
    Ok(json!({
        "moved_at": kept.moved_at,
        "from": part("from"),
        "to": part("to"),
        "images": part("images"),
        "same": part("same"),
        "entry": kept.entry,
    }))
}

/// Neither namespaces nor names of objects have a stroke in them.
fn written_after(last: &WorkloadRecord) -> String {
    format!("{}/{}/{}", last.namespace, last.name, last.id)
}

fn read_after(text: &str) -> Result<AfterWorkload, Problem> {
    let malformed = || {
        let detail =
            format_args!("`{text}` is no place in the list; take `next` of an answer as it is");
        Problem::refused(StatusCode::BAD_REQUEST, "malformed-query", detail)
    };
    let (rest, id) = text.rsplit_once('/').ok_or_else(malformed)?;
    let (namespace, name) = rest.split_once('/').ok_or_else(malformed)?;
    let id: Sha256Digest = id.parse().map_err(|_| malformed())?;
    Ok(AfterWorkload {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        id: id.0.to_vec(),
    })
}
