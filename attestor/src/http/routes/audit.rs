//! `GET /v1/audit/export`, `GET /v1/audit/checkpoint`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::attestor::Attestor;
use crate::audit;
use crate::heads::HeadError;
use crate::http::App;
use crate::http::problem::Problem;

/// The whole log, JSON Lines.
pub(super) async fn export(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let Attestor {
        store, heads, keys, ..
    } = &*app.attestor;
    let lines = audit::export(store, heads, &keys.checkpoint).await;
    let lines = lines.map_err(|error| refusal(&app, &error))?;
    Ok(([(CONTENT_TYPE, "application/jsonl")], lines))
}

/// The signed head of the log, a C2SP checkpoint.
pub(super) async fn checkpoint(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let Attestor {
        store, heads, keys, ..
    } = &*app.attestor;
    let note = audit::checkpoint(store, heads, &keys.checkpoint).await;
    let note = note.map_err(|error| refusal(&app, &error))?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], note))
}

/// A log that is not the one whose heads were signed gets no signature, and nothing more is written to it.
fn refusal(app: &App, error: &HeadError) -> Problem {
    if !error.is_divergence() {
        return Problem::internal(error);
    }
    app.attestor.store.fence();
    tracing::error!("{error}");
    Problem::refused(StatusCode::SERVICE_UNAVAILABLE, "log-diverged", error)
}
