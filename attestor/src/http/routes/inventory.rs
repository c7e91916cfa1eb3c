//! `/v1/inventory`, `/v1/join-tokens`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::Body;
use crate::enrollment::{self, DeclarationError};
use crate::http::App;
use crate::http::problem::Problem;
use crate::store::InventoryEntry;

/// A machine as it is written in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Machine {
    host: HostId,
    ek_digests: Vec<Sha256Digest>,
}

impl From<InventoryEntry> for Machine {
    fn from(entry: InventoryEntry) -> Self {
        Self {
            host: entry.host,
            ek_digests: entry.ek_digests,
        }
    }
}

/// Adds a machine.
pub(super) async fn add(
    State(app): State<App>,
    Body(machine): Body<Machine>,
) -> Result<Json<Machine>, Problem> {
    let entry = InventoryEntry {
        host: machine.host,
        ek_digests: machine.ek_digests,
    };
    let added = enrollment::add_machine(&app.attestor, entry)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(added.into()))
}

/// Every machine.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let machines: Vec<Machine> = tx.inventory().await?.into_iter().map(Into::into).collect();
    Ok(Json(json!({ "inventory": machines })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinTokenRequest {
    lifetime_seconds: i64,
}

/// Makes a join token.
pub(super) async fn join_token(
    State(app): State<App>,
    Body(request): Body<JoinTokenRequest>,
) -> Result<Json<Value>, Problem> {
    let made = enrollment::create_join_token(&app.attestor, request.lifetime_seconds)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(json!({
        "token": made.token.to_text(),
        "expires_at": made.expires_at,
    })))
}

fn refusal(error: &DeclarationError) -> Problem {
    match error.code() {
        "internal" => Problem::internal(error),
        code => Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, code, error),
    }
}
