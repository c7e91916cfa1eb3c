//! `GET /v1/audit/export`, `GET /v1/audit/checkpoint`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::attestor::Attestor;
use crate::audit;
use crate::http::App;
use crate::http::problem::Problem;
use crate::log_key::LogKeyError;

/// The whole log, JSON Lines.
pub(super) async fn export(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let Attestor {
        store,
        heads,
        log_key,
        ..
    } = &*app.attestor;
    let lines = audit::export(store, heads, log_key).await;
    let lines = lines.map_err(|error| refusal(&app, &error))?;
    Ok(([(CONTENT_TYPE, "application/jsonl")], lines))
}

/// The signed head of the log, a C2SP checkpoint.
pub(super) async fn checkpoint(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let Attestor {
        store,
        heads,
        log_key,
        ..
    } = &*app.attestor;
    let note = audit::checkpoint(store, heads, log_key).await;
    let note = note.map_err(|error| refusal(&app, &error))?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], note))
}

/// A log that is not the one whose heads were signed gets no signature, and nothing more is written to it. One that is
/// at another key gets none from here.
pub(super) fn refusal(app: &App, error: &LogKeyError) -> Problem {
    const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match error {
        LogKeyError::Head(head) if head.is_divergence() => {
            app.attestor.store.fence();
            tracing::error!("{error}");
            Problem::refused(UNAVAILABLE, "log-diverged", error)
        }
        LogKeyError::Exchanged { .. } => {
            Problem::refused(UNAVAILABLE, "checkpoint-key-exchanged", error)
        }
        _ => Problem::internal(error),
    }
}
