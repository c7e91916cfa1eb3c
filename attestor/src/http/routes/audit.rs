//! `GET /v1/audit/export`, `GET /v1/audit/checkpoint`.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::audit;
use crate::http::App;
use crate::http::problem::Problem;

/// The whole log, JSON Lines.
pub(super) async fn export(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let lines = audit::export(&app.attestor.store, &app.attestor.keys.checkpoint).await?;
    Ok(([(CONTENT_TYPE, "application/jsonl")], lines))
}

/// The signed head of the log, a C2SP checkpoint.
pub(super) async fn checkpoint(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let note = audit::checkpoint(&app.attestor.store, &app.attestor.keys.checkpoint).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], note))
}
