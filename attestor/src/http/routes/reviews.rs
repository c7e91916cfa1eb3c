//! `POST /kubernetes/v1/validate` and `…/mutate`, with a TLS client key or below a secret path.
//!
//! Whatever fails here is an HTTP error, which the API server turns into a refusal
//! (`failurePolicy: Fail`).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{Acting, Body};
use crate::http::App;
use crate::http::problem::Problem;
use crate::kubernetes;
use crate::kubernetes::mutate;
use crate::kubernetes::review::{Request, Response, Review};

/// Answers one AdmissionReview.
pub(super) async fn validate(
    State(app): State<App>,
    Acting(caller): Acting,
    Body(review): Body<Review>,
) -> Result<Json<Response>, Problem> {
    let request = understood(review)?;
    let answer = kubernetes::answer(&app.attestor, &app.webhook, &request, &caller).await?;
    Ok(Json(answer))
}

/// Answers one AdmissionReview with what is to be changed.
pub(super) async fn mutate(
    State(app): State<App>,
    Body(review): Body<Review>,
) -> Result<Json<Response>, Problem> {
    let request = understood(review)?;
    let answer = mutate::answer(&app.attestor, &app.webhook, &request).await;
    Ok(Json(answer))
}

fn understood(review: Review) -> Result<Request, Problem> {
    review.into_request().ok_or_else(|| {
        Problem::refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "review-version",
            "only AdmissionReview of admission.k8s.io/v1 with a request is answered",
        )
    })
}
