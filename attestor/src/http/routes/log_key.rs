//! `POST /v1/keys/checkpoint/rotate`: another key for the heads of the audit log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::audit::refusal;
use super::{Acting, Body};
use crate::attestor::Attestor;
use crate::http::App;
use crate::http::problem::Problem;
use crate::log_key::LogKeyError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// The key to be exchanged, as `GET /v1/keys` names it: a request that comes twice exchanges once.
    from: String,
}

/// Exchanges the key. Answered once the old one has handed over and is overwritten.
pub(super) async fn rotate(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(Rotation { from }): Body<Rotation>,
) -> Result<Json<Value>, Problem> {
    let Attestor {
        store,
        heads,
        log_key,
        ..
    } = &*app.attestor;
    let done = log_key.exchange(store, heads, &actor, &from).await;
    let done = done.map_err(|error| match &error {
        LogKeyError::NotCurrent { .. } => {
            Problem::refused(StatusCode::CONFLICT, "checkpoint-key-not-current", &error)
        }
        LogKeyError::UsedUp => {
            Problem::refused(StatusCode::CONFLICT, "checkpoint-key-used-up", &error)
        }
        _ => refusal(&app, &error),
    })?;
    Ok(Json(json!({
        "checkpoint_key": done.checkpoint_key,
        "replaced": done.replaced,
        "entry": done.entry,
    })))
}
