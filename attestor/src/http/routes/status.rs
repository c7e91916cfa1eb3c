//! `GET /healthz`, `GET /metrics`, `GET /v1/keys`.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::attestor::Attestor;
use crate::clock;
use crate::http::App;

/// Says that the process answers.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Counters, OpenMetrics text.
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let Attestor { metrics, index, .. } = &*app.attestor;
    let text = metrics.expose(&index.tiers(clock::now()), index.committed());
    ([(CONTENT_TYPE, OPEN_METRICS)], text)
}

/// The public keys that verify results and checkpoints.
pub(super) async fn keys(State(app): State<App>) -> Json<Value> {
    let keys = &app.attestor.keys;
    Json(json!({
        "result_key": hex::encode(keys.result.public_key().to_bytes()),
        "checkpoint_key": keys.checkpoint.verifier_key().to_string(),
    }))
}
