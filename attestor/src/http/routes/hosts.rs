//! `GET /v1/hosts`, `GET /v1/hosts/{host}`, `GET /v1/hosts/{host}/result`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::location::Place;
use touchstone_evidence::result::{TrustTier, TrustVector};
use touchstone_policies::prose;

use super::PathHost;
use crate::appraisal::Verdict;
use crate::attestor::Attestor;
use crate::clock;
use crate::http::App;
use crate::http::problem::Problem;
use crate::store::{HostRecord, StoreError};

/// A host as operators see it.
#[derive(Serialize)]
struct HostView {
    host: HostId,
    nodes: Vec<String>,
    enrolled_at: i64,
    tier: TrustTier,
    fresh: bool,
    place: Option<Place>,
    vector: TrustVector,
    findings: Vec<Explained>,
    summary: String,
    policy: String,
    policy_digest: Option<Sha256Digest>,
    issued_at: Option<i64>,
    expires_at: Option<i64>,
    entry: Option<Sha256Digest>,
}

/// A finding with its sentence.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    finding: Finding,
    sentence: String,
}

/// Every enrolled host.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let views: Result<Vec<HostView>, StoreError> = tx
        .hosts()
        .await?
        .iter()
        .map(|record| view(&app.attestor, record))
        .collect();
    Ok(Json(json!({ "hosts": views? })))
}

/// One host.
pub(super) async fn show(
    State(app): State<App>,
    PathHost(host): PathHost,
) -> Result<Json<Value>, Problem> {
    let record = find(&app.attestor, &host).await?;
    Ok(Json(json!(view(&app.attestor, &record)?)))
}

/// The last signed result of one host.
pub(super) async fn result(
    State(app): State<App>,
    PathHost(host): PathHost,
) -> Result<Json<Value>, Problem> {
    let record = find(&app.attestor, &host).await?;
    let result = record.result.ok_or_else(|| {
        Problem::refused(
            StatusCode::NOT_FOUND,
            "result-absent",
            "the host is enrolled and has not attested yet",
        )
    })?;
    Ok(Json(json!({ "result": result })))
}

async fn find(attestor: &Attestor, host: &HostId) -> Result<HostRecord, Problem> {
    let mut tx = attestor.store.read().await?;
    tx.host(host).await?.ok_or_else(|| {
        Problem::refused(
            StatusCode::NOT_FOUND,
            "host-unknown",
            "no host of this name is enrolled",
        )
    })
}

fn view(attestor: &Attestor, record: &HostRecord) -> Result<HostView, StoreError> {
    let verdict = Verdict::of(record)?;
    let findings = verdict
        .as_ref()
        .map(|verdict| verdict.findings.clone())
        .unwrap_or_default();
    Ok(HostView {
        host: record.host.clone(),
        nodes: attestor.index.nodes_of(&record.host),
        enrolled_at: record.enrolled_at,
        tier: verdict
            .as_ref()
            .map_or(TrustTier::None, |verdict| verdict.tier),
        fresh: verdict
            .as_ref()
            .is_some_and(|verdict| clock::now() < verdict.expires_at),
        place: verdict.as_ref().and_then(|verdict| verdict.place.clone()),
        vector: verdict
            .as_ref()
            .map_or(TrustVector::NONE, |verdict| verdict.vector),
        summary: prose::summary(&findings),
        findings: findings
            .into_iter()
            .map(|finding| Explained {
                sentence: prose::sentence(&finding),
                finding,
            })
            .collect(),
        policy: verdict
            .as_ref()
            .map(|verdict| verdict.policy.clone())
            .unwrap_or_default(),
        policy_digest: verdict.as_ref().map(|verdict| verdict.policy_digest),
        issued_at: verdict.as_ref().map(|verdict| verdict.issued_at),
        expires_at: verdict.as_ref().map(|verdict| verdict.expires_at),
        entry: verdict.as_ref().map(|verdict| verdict.entry),
    })
}
