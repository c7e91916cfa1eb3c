//! `GET /healthz`, `GET /readyz`, `GET /metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::attestor::Attestor;
use crate::clock;
use crate::http::App;
use crate::http::problem::Problem;

/// Says that the process answers.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Says whether the attestor can do its work, and what keeps it from it, or from a part of it.
pub(super) async fn readyz(State(app): State<App>) -> Result<Json<Value>, Problem> {
    const UNREADY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    let Attestor { store, index, .. } = &*app.attestor;
    if store.is_fenced() {
        let why = "the audit log in the database is not the one whose heads were signed";
        return Err(Problem::refused(UNREADY, "log-diverged", why));
    }
    if !index.is_confirmed() {
        let why = "the database has not answered for three seconds";
        return Err(Problem::refused(UNREADY, "database-unavailable", why));
    }
    if store.is_unwritable() {
        let why = "the database answers and takes no writes, as when its disk is full; see the attestor's log";
        return Err(Problem::refused(UNREADY, "database-unwritable", why));
    }
    if let Some(seconds) = clock::set_back() {
        let why = format!(
            "the clock was set back by {seconds} s; the attestor goes on by the time that it knew: set the clock right"
        );
        return Err(Problem::refused(UNREADY, "clock-set-back", why));
    }
    // Rounds and admissions go on without it: who sends these here should go on too.
    match app.attestor.keys.master.is_there() {
        true => Ok(Json(json!({ "status": "ready" }))),
        false => Ok(Json(
            json!({ "status": "ready", "without": ["master-key"] }),
        )),
    }
}

/// Counters, OpenMetrics text.
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let Attestor {
        metrics,
        index,
        keys,
        ..
    } = &*app.attestor;
    metrics.master_key(keys.master.is_there());
    if let Some(cluster) = &app.webhook.cluster {
        let is_meant = app.webhook.identity.doubt().is_none();
        metrics.cluster_reachable(is_meant && cluster.is_reachable());
    }
    let text = metrics.expose(&index.tiers(clock::now()), index.committed());
    ([(CONTENT_TYPE, OPEN_METRICS)], text)
}
