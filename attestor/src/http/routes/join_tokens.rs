//! `/v1/join-tokens`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::host_id::HostId;

use super::{Acting, Body};
use crate::enrollment::{self, JoinTokenError};
use crate::http::App;
use crate::http::problem::Problem;
use crate::store::JoinTokenRecord;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Creation {
    lifetime_seconds: i64,
    host: Option<HostId>,
    uses: Option<i64>,
}

/// Makes a join token. The only answer that holds its secret.
pub(super) async fn create(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(creation): Body<Creation>,
) -> Result<Json<Value>, Problem> {
    let request = enrollment::JoinTokenRequest {
        lifetime: creation.lifetime_seconds,
        host: creation.host,
        uses: creation.uses,
    };
    let made = enrollment::create_join_token(&app.attestor, &actor, request)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(json!({
        "id": made.record.id(),
        "token": made.token.to_text(),
        "expires_at": made.record.expires_at,
    })))
}

/// Every join token that is in force or ended lately.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let tokens: Vec<Value> = tx.join_tokens().await?.iter().map(view).collect();
    Ok(Json(json!({ "join_tokens": tokens })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    id: String,
}

/// Revokes a join token.
pub(super) async fn revoke(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(revocation): Body<Revocation>,
) -> Result<Json<Value>, Problem> {
    let token = enrollment::revoke_join_token(&app.attestor, &actor, &revocation.id)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(view(&token)))
}

fn view(token: &JoinTokenRecord) -> Value {
    json!({
        "id": token.id(),
        "expires_at": token.expires_at,
        "host": token.host,
        "uses": token.uses,
        "uses_max": token.uses_max,
        "revoked_at": token.revoked_at,
    })
}

fn refusal(error: &JoinTokenError) -> Problem {
    Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error)
}
