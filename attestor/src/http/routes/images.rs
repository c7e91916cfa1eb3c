//! `/v1/images`: the register of images.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::oci_manifest::MANIFEST_MAX;

use super::{Acting, Body};
use crate::http::App;
use crate::http::problem::Problem;
use crate::images::{self, ImageError};
use crate::store::{ImageRecord, StoreError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    reference: String,
    manifest: Bytes<MANIFEST_MAX>,
}

/// Every registered image.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let all = app.attestor.store.read().await?.images().await?;
    let all = all.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(json!({ "images": all })))
}

/// Registers an image by its manifest.
pub(super) async fn register(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(registration): Body<Registration>,
) -> Result<Json<Value>, Problem> {
    let Registration {
        reference,
        manifest,
    } = registration;
    let done = images::register(&app.attestor, &actor, reference, &manifest).await;
    let image = done.map_err(|error| refusal(&error))?;
    Ok(Json(view(&image)?))
}

fn view(image: &ImageRecord) -> Result<Value, StoreError> {
    let layers: Value =
        serde_json::from_str(&image.layers).map_err(|_| StoreError::Malformed("image"))?;
    Ok(json!({
        "manifest": image.manifest,
        "reference": image.reference,
        "config": image.config,
        "layers": layers,
        "encrypted": image.encrypted,
        "publisher": image.publisher,
        "registered_at": image.registered_at,
    }))
}

fn refusal(error: &ImageError) -> Problem {
    match error {
        ImageError::Key(error) => super::layer_keys::refusal(error),
        error => Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error),
    }
}
