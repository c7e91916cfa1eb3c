//! `POST /v1/releases`: the key of a layer, for a host that proves itself with the same request.

use axum::body::Bytes as Body;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::value::RawValue;
use touchstone_evidence::annotation::ANNOTATION_MAX;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::wire::Release;

use super::{layer_keys, rounds};
use crate::http::App;
use crate::http::access::CallingHost;
use crate::http::problem::Problem;
use crate::releases::{self, ReleaseError, Wanted};

/// As `ReleaseRequest`, with the evidence as it was sent: so it is kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow)]
    evidence: &'a RawValue,
    annotation: Bytes<ANNOTATION_MAX>,
    #[serde(default)]
    manifest: Option<OciDigest>,
}

/// Appraises the calling host's evidence, and gives it the key of the layer if it may have it.
pub(super) async fn release(
    State(app): State<App>,
    Extension(CallingHost { host, tls_key }): Extension<CallingHost>,
    body: Result<Body, BytesRejection>,
) -> Result<Json<Release>, Problem> {
    let body = body?;
    let wanted = rounds::within_budget(&app, &host, body.len()).and_then(|()| {
        let request: Request<'_> = serde_json::from_slice(&body).map_err(|error| {
            Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, "malformed-body", error)
        })?;
        let evidence = request.evidence.get().as_bytes();
        Ok(Wanted {
            host: host.clone(),
            tls_key,
            evidence: rounds::read(evidence)?,
            body: evidence.to_vec(),
            annotation: request.annotation.0,
            manifest: request.manifest,
        })
    });
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(problem) => {
            app.attestor.note_refusal(problem.code()).await;
            return Err(problem);
        }
    };
    match releases::release(&app.attestor, wanted).await {
        Ok(release) => Ok(Json(release)),
        Err(error) => {
            tracing::warn!(host.id = %host, code = error.code(), "no key was released: {error}");
            Err(refusal(&app, error).await)
        }
    }
}

pub(super) async fn refusal(app: &App, error: ReleaseError) -> Problem {
    let problem = match error {
        ReleaseError::Round(error) => return rounds::refusal(app, error).await,
        ReleaseError::LayerKey(error) => layer_keys::refusal(&error),
        error => Problem::of(StatusCode::FORBIDDEN, error.code(), &error),
    };
    rounds::noted(app, problem).await
}
