//! `POST /v1/challenges`, `POST /v1/evidence`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use touchstone_evidence::wire::{Challenge, Evidence};

use crate::appraisal::{self, RoundError};
use crate::http::App;
use crate::http::access::{self, CallingHost};
use crate::http::problem::Problem;

/// Gives the calling host a challenge.
pub(super) async fn challenge(
    State(app): State<App>,
    Extension(CallingHost(record)): Extension<CallingHost>,
) -> Result<Json<Challenge>, Problem> {
    match appraisal::challenge(&app.attestor, &record).await {
        Ok(challenge) => Ok(Json(challenge)),
        Err(error) => Err(refusal(&app, &error).await),
    }
}

/// Appraises the calling host's evidence. The answer is sent as it was stored.
pub(super) async fn evidence(
    State(app): State<App>,
    Extension(CallingHost(record)): Extension<CallingHost>,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Problem> {
    let body = body?;
    let evidence: Evidence = serde_json::from_slice(&body).map_err(|error| {
        Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, "malformed-body", error)
    })?;
    let host = record.host.clone();
    match appraisal::round(&app.attestor, record, evidence, &body).await {
        Ok(answer) => Ok(([(CONTENT_TYPE, "application/json")], answer)),
        Err(error) => {
            tracing::warn!(host.id = %host, finding.code = error.code(), "refused evidence: {error}");
            Err(refusal(&app, &error).await)
        }
    }
}

async fn refusal(app: &App, error: &RoundError) -> Problem {
    if error.code() == "internal" {
        return Problem::internal(error);
    }
    app.attestor.note_refusal(error.code()).await;
    if let RoundError::Ended(end) = error {
        return access::ended(*end);
    }
    Problem::refused(StatusCode::CONFLICT, error.code(), error)
}
