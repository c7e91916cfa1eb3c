//! `/v1/keys`: the keys that verify what the attestor signs, and their exchange.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Acting, Body};
use crate::attestor::Attestor;
use crate::http::App;
use crate::http::problem::Problem;
use crate::result_keys::{self, ResultKeyError};
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
        "ca": keys.ca_pem,
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
    done.map_err(|error| match error.code() {
        "internal" => Problem::internal(&error),
        code => Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, code, error),
    })?;
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
    match error.code() {
        "internal" => Problem::internal(error),
        code => Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, code, error),
    }
}
