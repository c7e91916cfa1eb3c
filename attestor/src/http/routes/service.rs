//! `POST /v1/hosts/{host}/…`: let in anew, out of service, with another TPM.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;

use super::inventory::refusal;
use super::{Acting, Body, PathHost, Why};
use crate::audit::Reason;
use crate::enrollment;
use crate::http::App;
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reenrolment {
    seconds: i64,
    reason: Option<Reason>,
}

/// Lets a host enrol once with other keys.
pub(super) async fn reenrol(
    State(app): State<App>,
    Acting(actor): Acting,
    PathHost(host): PathHost,
    Body(request): Body<Reenrolment>,
) -> Result<Json<Value>, Problem> {
    let reason = request.reason;
    let expires_at =
        enrollment::open_reenrolment(&app.attestor, &actor, &host, request.seconds, reason)
            .await
            .map_err(|error| refusal(&error))?;
    Ok(Json(json!({ "host": host, "expires_at": expires_at })))
}

/// Takes a host out of service.
pub(super) async fn retire(
    State(app): State<App>,
    Acting(actor): Acting,
    PathHost(host): PathHost,
    Body(Why { reason }): Body<Why>,
) -> Result<Json<Value>, Problem> {
    enrollment::retire_host(&app.attestor, &actor, &host, reason)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(json!({ "host": host, "state": "retired" })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replacement {
    ek_digests: Vec<Sha256Digest>,
    reason: Option<Reason>,
}

/// Gives a host another TPM.
pub(super) async fn replace(
    State(app): State<App>,
    Acting(actor): Acting,
    PathHost(host): PathHost,
    Body(new): Body<Replacement>,
) -> Result<Json<Value>, Problem> {
    let entry = enrollment::replace_tpm(&app.attestor, &actor, &host, new.ek_digests, new.reason)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(
        json!({ "host": entry.host, "ek_digests": entry.ek_digests }),
    ))
}
