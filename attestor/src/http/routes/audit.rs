//! `GET /v1/audit/export`, `GET /v1/audit/checkpoint`.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use futures_util::stream;

use crate::attestor::Attestor;
use crate::audit::{self, Export};
use crate::http::App;
use crate::http::problem::Problem;
use crate::log_key::LogKeyError;
use crate::store::StoreError;

/// The whole log, JSON Lines, as it is read.
pub(super) async fn export(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let Attestor {
        store,
        heads,
        log_key,
        ..
    } = &*app.attestor;
    let begun = Export::begin(store, heads, log_key).await;
    let mut export = begun.map_err(|error| refusal(&app, &error))?;
    // What fails before the answer begins is a problem. What fails later breaks the answer off.
    let first = export.part().await;
    let first = first.map_err(|error| refusal(&app, &error.into()))?;
    let lines = stream::try_unfold((first, export), |(ready, mut export)| async move {
        let part = match ready {
            Some(part) => Some(part),
            None => export.part().await.inspect_err(broken_off)?,
        };
        Ok::<_, StoreError>(part.map(|part| (part, (None, export))))
    });
    let body = Body::from_stream(lines);
    Ok(([(CONTENT_TYPE, "application/jsonl")], body))
}

fn broken_off(error: &StoreError) {
    let error: &dyn std::error::Error = error;
    tracing::error!(error, "an export of the audit log broke off");
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
