//! `/v1/credentials`: who may call, beside hosts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;

use super::{Acting, Body};
use crate::credentials::{self, CredentialError, Wanted};
use crate::http::App;
use crate::http::problem::Problem;
use crate::role::{CredentialName, Role};
use crate::store::CredentialRecord;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Creation {
    name: CredentialName,
    role: Role,
    lifetime_seconds: Option<i64>,
    tls_key: Option<Sha256Digest>,
}

/// Makes a credential. The only answer that holds its token.
pub(super) async fn create(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(creation): Body<Creation>,
) -> Result<Json<Value>, Problem> {
    let wanted = Wanted {
        name: creation.name,
        role: creation.role,
        lifetime: creation.lifetime_seconds,
        tls_key: creation.tls_key,
    };
    let made = credentials::create(&app.attestor, &actor, wanted)
        .await
        .map_err(|error| refusal(&error))?;
    let keys = &app.attestor.keys;
    Ok(Json(json!({
        "credential": view(&made.record),
        "token": made.token.as_deref(),
        "server": keys.server_url,
        "ca": keys.ca.bundle().pem,
    })))
}

/// Every credential there ever was.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let all = app.attestor.store.read().await?.credentials().await?;
    let all: Vec<Value> = all.iter().map(view).collect();
    Ok(Json(json!({ "credentials": all })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    name: CredentialName,
}

/// Takes a credential back.
pub(super) async fn revoke(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(revocation): Body<Revocation>,
) -> Result<Json<Value>, Problem> {
    let revoked = credentials::revoke(&app.attestor, &actor, revocation.name)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(view(&revoked)))
}

fn view(record: &CredentialRecord) -> Value {
    json!({
        "name": record.name,
        "role": record.role,
        "way": record.way,
        "key": record.key,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "revoked_at": record.revoked_at,
    })
}

fn refusal(error: &CredentialError) -> Problem {
    Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error)
}
