//! `/v1/references`: reference values that wait for an officer.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::{Acting, Body};
use crate::http::App;
use crate::http::problem::Problem;
use crate::references::{self, ReferenceError};
use crate::store::PendingReference;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Capture {
    host: HostId,
    name: String,
    /// Even if the host is contraindicated.
    #[serde(default)]
    anyway: bool,
}

/// Keeps the boot of a host as pending values.
pub(super) async fn capture(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(capture): Body<Capture>,
) -> Result<Json<Value>, Problem> {
    let Capture { host, name, anyway } = capture;
    let pending = references::capture(&app.attestor, &actor, &host, &name, anyway).await;
    Ok(Json(view(&pending.map_err(|error| refusal(&error))?)))
}

/// All that wait.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let references = app.attestor.store.read().await?.references().await?;
    let references: Vec<Value> = references.iter().map(view).collect();
    Ok(Json(json!({ "references": references })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Activation {
    name: String,
    /// SHA-256 of the manifest that the officer looked at.
    manifest: Option<Sha256Digest>,
    #[serde(default)]
    drain: bool,
}

/// Puts pending values into force, in a new version of the manifests.
pub(super) async fn activate(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(activation): Body<Activation>,
) -> Result<Json<Value>, Problem> {
    super::policies::come_from_here(&app)?;
    let Activation {
        name,
        manifest,
        drain,
    } = activation;
    let applied = references::activate(&app.attestor, &actor, &name, manifest, drain).await;
    let applied = applied.map_err(|error| refusal(&error))?;
    Ok(Json(
        json!({ "name": name, "version": applied.version, "digest": applied.digest }),
    ))
}

fn view(pending: &PendingReference) -> Value {
    json!({
        "name": pending.name,
        "host": pending.host,
        "evidence": pending.evidence,
        "captured_at": pending.captured_at,
        "manifest": pending.manifest,
        "manifest_digest": Sha256Digest::of(pending.manifest.as_bytes()),
    })
}

fn refusal(error: &ReferenceError) -> Problem {
    match error {
        ReferenceError::Store(error) => Problem::internal(error),
        ReferenceError::Apply(error) => super::policies::refusal(error),
        ReferenceError::HostUnknown => super::hosts::unknown(),
        _ => Problem::refused(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error),
    }
}
