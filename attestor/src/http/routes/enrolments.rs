//! `POST /v1/enrolments`, `POST /v1/enrolments/activate`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use touchstone_evidence::wire::{Activation, Enrolled, EnrolmentChallenge, EnrolmentRequest};

use super::Body;
use crate::enrollment::{self, EnrolmentError};
use crate::http::App;
use crate::http::access::JoiningCaller;
use crate::http::problem::Problem;

/// First message of an enrolment.
pub(super) async fn begin(
    State(app): State<App>,
    Extension(JoiningCaller(joining)): Extension<JoiningCaller>,
    Body(request): Body<EnrolmentRequest>,
) -> Result<Json<EnrolmentChallenge>, Problem> {
    let begun = enrollment::begin(&app.attestor, request, &joining).await;
    answer(&app, begun).await
}

/// Second message of an enrolment.
pub(super) async fn activate(
    State(app): State<App>,
    Extension(JoiningCaller(joining)): Extension<JoiningCaller>,
    Body(activation): Body<Activation>,
) -> Result<Json<Enrolled>, Problem> {
    let enrolled = enrollment::activate(&app.attestor, activation, &joining).await;
    answer(&app, enrolled).await
}

async fn answer<T>(app: &App, outcome: Result<T, EnrolmentError>) -> Result<Json<T>, Problem> {
    match outcome {
        Ok(answer) => Ok(Json(answer)),
        Err(error) if error.is_failure() => Err(Problem::internal(&error)),
        Err(error) => {
            tracing::warn!(finding.code = error.code(), "refused an enrolment: {error}");
            app.attestor.note_refusal(error.code()).await;
            Err(Problem::refused(StatusCode::FORBIDDEN, error.code(), error))
        }
    }
}
