//! `GET /healthz`, `GET /v1/keys`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::http::App;

/// Says that the process answers.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The public keys that verify results and checkpoints.
pub(super) async fn keys(State(app): State<App>) -> Json<Value> {
    let keys = &app.attestor.keys;
    Json(json!({
        "result_key": hex::encode(keys.result.public_key().to_bytes()),
        "checkpoint_key": keys.checkpoint.verifier_key().to_string(),
    }))
}
