//! `/v1/oems`: makers of machines whose platform certificates count.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::endorsement::Oem;

use super::{Acting, Body};
use crate::enrollment;
use crate::http::App;
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Adding {
    /// DER.
    certificate: Bytes<16384>,
    host_prefix: String,
}

#[derive(Serialize)]
struct OemView {
    digest: Sha256Digest,
    subject: String,
    host_prefix: String,
    not_after: Option<i64>,
}

impl OemView {
    fn of(oem: &Oem, host_prefix: String) -> Self {
        Self {
            digest: oem.digest(),
            subject: oem.subject(),
            host_prefix,
            not_after: oem.not_after(),
        }
    }
}

/// Adds an OEM.
pub(super) async fn add(
    State(app): State<App>,
    Acting(actor): Acting,
    Body(adding): Body<Adding>,
) -> Result<Json<Value>, Problem> {
    let (der, prefix) = (adding.certificate.0, adding.host_prefix);
    match enrollment::add_oem(&app.attestor, &actor, der, prefix.clone()).await {
        Ok(oem) => Ok(Json(json!(OemView::of(&oem, prefix)))),
        Err(error) => Err(Problem::of(
            StatusCode::UNPROCESSABLE_ENTITY,
            error.code(),
            &error,
        )),
    }
}

/// Every OEM.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut tx = app.attestor.store.read().await?;
    let oems: Vec<OemView> = enrollment::oems(&mut tx)
        .await?
        .into_iter()
        .map(|(oem, stored)| OemView::of(&oem, stored.host_prefix))
        .collect();
    Ok(Json(json!({ "oems": oems })))
}
