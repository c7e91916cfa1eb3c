//! `/v1/keys`: the keys that verify what the attestor signs, and their exchange.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Acting, Body};
use crate::attestor::Attestor;
use crate::http::App;
use crate::http::problem::Problem;
use crate::result_keys::{self, ResultKeyError};
use crate::server_ca::{self, Bundle, ServerCaError};
use crate::store::ResultKeyRecord;
use crate::webhook_secret::{self, WebhookSecretError};

/// The public keys that verify results and checkpoints, and the CA that agents pin.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let results = app.attestor.store.read().await?.result_keys().await?;
    let current = results.iter().find(|key| key.until.is_none());
    let Attestor { keys, log_key, .. } = &*app.attestor;
    Ok(Json(json!({
        "result_key": current.map(|key| hex::encode(key.public_key)),
        "result_keys": results.iter().map(view).collect::<Vec<_>>(),
        "checkpoint_key": log_key.verifier_key().await,
        "ca": keys.ca.bundle().pem,
        "webhook_secrets": keys.webhook.count(),
    })))
}

/// Puts a new key in the place of the one that signs results.
pub(super) async fn rotate_result(
    State(app): State<App>,
    Acting(actor): Acting,
) -> Result<Json<Value>, Problem> {
    let made = result_keys::rotate(&app.attestor, &actor).await;
    Ok(Json(view(&made.map_err(|error| refusal(&error))?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    id: String,
}

/// Says that results of a key no longer count.
pub(super) async fn revoke_result(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(revocation): Body<Revocation>,
) -> Result<Json<Value>, Problem> {
    let revoked = result_keys::revoke(&app.attestor, &actor, &revocation.id).await;
    Ok(Json(view(&revoked.map_err(|error| refusal(&error))?)))
}

/// The CAs that a host is to believe, PEM.
pub(super) async fn ca(State(app): State<App>) -> impl IntoResponse {
    let pem = app.attestor.keys.ca.bundle().pem.clone();
    ([(CONTENT_TYPE, "application/pem-certificate-chain")], pem)
}

/// Makes the next CA, and tells everybody to believe it as well.
pub(super) async fn rotate_ca(
    State(app): State<App>,
    Acting(actor): Acting,
) -> Result<Json<Value>, Problem> {
    ca_answer(server_ca::announce(&app.attestor, &actor).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Activation {
    #[serde(default)]
    force: bool,
}

/// Puts the next CA in the place of the current one.
pub(super) async fn activate_ca(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(Activation { force }): Body<Activation>,
) -> Result<Json<Value>, Problem> {
    ca_answer(server_ca::activate(&app.attestor, &actor, force).await)
}

fn ca_answer(done: Result<Arc<Bundle>, ServerCaError>) -> Result<Json<Value>, Problem> {
    let bundle =
        done.map_err(|error| Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.code(), &error))?;
    Ok(Json(json!({ "ca": bundle.pem, "next_ca": bundle.next })))
}

/// Makes another secret for the webhook's URL; it is in the operator's file, and in no answer.
pub(super) async fn rotate_webhook(
    State(app): State<App>,
    Acting(actor): Acting,
) -> Result<Json<Value>, Problem> {
    webhook_answer(&app, webhook_secret::rotate(&app.attestor, &actor).await)
}

/// Lets in the webhook's current secret alone.
pub(super) async fn revoke_webhook(
    State(app): State<App>,
    Acting(actor): Acting,
) -> Result<Json<Value>, Problem> {
    webhook_answer(&app, webhook_secret::revoke(&app.attestor, &actor).await)
}

fn webhook_answer(app: &App, done: Result<(), WebhookSecretError>) -> Result<Json<Value>, Problem> {
    done.map_err(|error| Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.code(), &error))?;
    let count = app.attestor.keys.webhook.count();
    Ok(Json(json!({ "webhook_secrets": count })))
}

/// With the key as JWK (RFC 8037 §2), as libraries for tokens take it.
fn view(key: &ResultKeyRecord) -> Value {
    let state = match (key.revoked_at, key.until) {
        (Some(_), _) => "revoked",
        (None, Some(_)) => "retired",
        (None, None) => "current",
    };
    json!({
        "id": key.id,
        "state": state,
        "public_key": hex::encode(key.public_key),
        "since": key.since,
        "until": key.until,
        "revoked_at": key.revoked_at,
        "jwk": {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": key.id,
            "x": URL_SAFE_NO_PAD.encode(key.public_key),
        },
    })
}

fn refusal(error: &ResultKeyError) -> Problem {
    Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error)
}
