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
use super::identities::{Identities, Identity};
use crate::appraisal::Verdict;
use crate::attestor::Attestor;
use crate::clock;
use crate::http::App;
use crate::http::problem::Problem;
use crate::store::{HostRecord, MachineState, StoreError};

/// A host as operators see it.
#[derive(Serialize)]
struct HostView {
    host: HostId,
    nodes: Vec<String>,
    identity: Identity,
    enrolled_at: Option<i64>,
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

/// Every host that is enrolled or out of service.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let mut identities = Identities::read(&mut tx, clock::now()).await?;
    let mut views = Vec::new();
    for record in tx.hosts().await? {
        let identity = identities.take(&record.host, Some(&record));
        views.push(view(&app.attestor, &record.host, Some(&record), identity)?);
    }
    for host in identities.retired() {
        let identity = identities.take(&host, None);
        views.push(view(&app.attestor, &host, None, identity)?);
    }
    views.sort_by(|a, b| a.host.cmp(&b.host));
    Ok(Json(json!({ "hosts": views })))
}

/// One host.
pub(super) async fn show(
    State(app): State<App>,
    PathHost(host): PathHost,
) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let record = tx.host(&host).await?;
    let retired = tx.machine_state(&host).await? == Some(MachineState::Retired);
    if record.is_none() && !retired {
        return Err(unknown());
    }
    let mut identities = Identities::of(&mut tx, &host, clock::now()).await?;
    let identity = identities.take(&host, record.as_ref());
    Ok(Json(json!(view(
        &app.attestor,
        &host,
        record.as_ref(),
        identity
    )?)))
}

/// The last signed result of one host.
pub(super) async fn result(
    State(app): State<App>,
    PathHost(host): PathHost,
) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let record = tx.host(&host).await?.ok_or_else(unknown)?;
    let result = record.result.ok_or_else(|| {
        Problem::refused(
            StatusCode::NOT_FOUND,
            "result-absent",
            "the host is enrolled and has not attested yet",
        )
    })?;
    Ok(Json(json!({ "result": result })))
}

pub(super) fn unknown() -> Problem {
    Problem::refused(
        StatusCode::NOT_FOUND,
        "host-unknown",
        "no host of this name is enrolled",
    )
}

fn view(
    attestor: &Attestor,
    host: &HostId,
    record: Option<&HostRecord>,
    identity: Identity,
) -> Result<HostView, StoreError> {
    let verdict = record.map(Verdict::of).transpose()?.flatten();
    let findings = verdict
        .as_ref()
        .map(|verdict| verdict.findings.clone())
        .unwrap_or_default();
    Ok(HostView {
        host: host.clone(),
        nodes: attestor.index.nodes_of(host),
        identity,
        enrolled_at: record.map(|record| record.enrolled_at),
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
