//! `/v1/quarantine`: genuine TPMs that wait for an operator's word.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::{Acting, Body};
use crate::enrollment::{self, QuarantineError};
use crate::http::App;
use crate::http::problem::Problem;

/// Every TPM in quarantine.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let waiting: Vec<Value> = tx
        .quarantine()
        .await?
        .into_iter()
        .map(|one| {
            json!({
                "ek_digest": one.ek_digest,
                "root_class": one.root_class,
                "tpm": one.tpm,
                "join_token": one.join_token,
                "first_seen": one.first_seen,
                "last_seen": one.last_seen,
                "seen": one.seen,
                "rejected": one.rejected,
            })
        })
        .collect();
    Ok(Json(json!({ "quarantine": waiting })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approval {
    ek_digest: Sha256Digest,
    host: HostId,
}

/// Calls a TPM ours.
pub(super) async fn approve(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(approval): Body<Approval>,
) -> Result<Json<Value>, Problem> {
    let entry = enrollment::approve(&app.attestor, &actor, &approval.ek_digest, approval.host)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(
        json!({ "host": entry.host, "ek_digests": entry.ek_digests }),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rejection {
    ek_digest: Sha256Digest,
}

/// Calls a TPM none of ours.
pub(super) async fn reject(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(rejection): Body<Rejection>,
) -> Result<Json<Value>, Problem> {
    enrollment::reject(&app.attestor, &actor, &rejection.ek_digest)
        .await
        .map_err(|error| refusal(&error))?;
    Ok(Json(
        json!({ "ek_digest": rejection.ek_digest, "rejected": true }),
    ))
}

fn refusal(error: &QuarantineError) -> Problem {
    Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error)
}
