//! `GET /v1/hosts/{host}/explanation`.

use axum::Json;
use axum::extract::State;

use super::PathHost;
use super::hosts::unknown;
use crate::explain::{self, Explanation};
use crate::http::App;
use crate::http::problem::Problem;

/// Why a host stands where it stands.
pub(super) async fn explain(
    State(app): State<App>,
    PathHost(host): PathHost,
) -> Result<Json<Explanation>, Problem> {
    let explanation = explain::explain(&app.attestor, &host).await?;
    explanation.map(Json).ok_or_else(unknown)
}
