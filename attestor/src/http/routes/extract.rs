//! What handlers take out of a request: who calls, what the path names, the body.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::host_id::HostId;

use super::super::App;
use super::super::problem::Problem;
use crate::audit::{Actor, Reason};

/// Who calls, for the entry of what it does.
pub(super) struct Acting(pub(super) Actor);

impl FromRequestParts<App> for Acting {
    type Rejection = Problem;

    /// The access rule left it behind; a route without one has nobody to name.
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        let actor = parts.extensions.get::<Actor>().cloned();
        actor
            .map(Self)
            .ok_or_else(|| Problem::unauthenticated("this is for callers who say who they are"))
    }
}

/// The host that the path names; what cannot name one is a problem.
pub(super) struct PathHost(pub(super) HostId);

impl FromRequestParts<App> for PathHost {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(host) = Path::<HostId>::from_request_parts(parts, app).await?;
        Ok(Self(host))
    }
}

/// The key of encrypted layers that the path names; what cannot name one is a problem.
pub(super) struct PathKey(pub(super) KeyName);

impl FromRequestParts<App> for PathKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(key) = Path::<KeyName>::from_request_parts(parts, app).await?;
        Ok(Self(key))
    }
}

/// Why an operator does something, in words for the audit log; `{}` says nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    pub(super) reason: Option<Reason>,
}

/// A JSON body; what does not read is a problem.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let Json(body) = Json::from_request(request, app).await?;
        Ok(Self(body))
    }
}
