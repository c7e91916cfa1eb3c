//! `POST /kubernetes/v1/extender/filter` and `…/prioritize`, with a TLS client key or below a secret path.

use axum::Json;
use axum::extract::State;

use super::Body;
use crate::http::App;
use crate::kubernetes::extender::{self, Args, Filtered, HostPriority};

/// Which of the nodes a pod may go to.
pub(super) async fn filter(State(app): State<App>, Body(args): Body<Args>) -> Json<Filtered> {
    Json(extender::filter(&app.attestor, &app.webhook, args).await)
}

/// How well each of the nodes would do.
pub(super) async fn prioritize(
    State(app): State<App>,
    Body(args): Body<Args>,
) -> Json<Vec<HostPriority>> {
    Json(extender::prioritize(&app.attestor, &app.webhook, &args))
}
