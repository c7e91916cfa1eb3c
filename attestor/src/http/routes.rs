//! The table of routes, and how their bodies are read.

mod audit;
mod endorsements;
mod enrolments;
mod firmware;
mod hosts;
mod identities;
mod inventory;
mod join_tokens;
mod location;
mod nodes;
mod oems;
mod policies;
mod quarantine;
mod reviews;
mod rounds;
mod service;
mod status;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::Method;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use touchstone_evidence::host_id::HostId;

use super::access::Access;
use super::problem::Problem;
use super::{App, Route};
use crate::audit::Reason;

/// A boot log and a part of a runtime list, each at most 1 MiB and a little, in base64, and the rest of a round.
const EVIDENCE_MAX: usize = 3 << 20;
/// An EK certificate and sixteen intermediates in base64.
const ENROLMENT_MAX: usize = 128 << 10;
/// Kubernetes objects have at most 1.5 MiB in etcd; a review holds up to two.
const REVIEW_MAX: usize = 4 << 20;
/// Policy manifests and certificate bundles.
const DOCUMENT_MAX: usize = 5 << 20;
/// A hundred thousand machines with two EKs each.
const INVENTORY_MAX: usize = 24 << 20;

pub(super) fn all() -> Vec<Route> {
    use Access::{Anyone, Host, JoinToken, Operator, WebhookCertificate, WebhookSecret};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    vec![
        Route::new(GET, "/healthz", Anyone, status::healthz),
        Route::new(GET, "/readyz", Anyone, status::readyz),
        Route::new(GET, "/metrics", Operator, status::metrics),
        Route::new(GET, "/v1/keys", Operator, status::keys),
        Route::new(POST, "/v1/enrolments", JoinToken, enrolments::begin)
            .with_body_of(ENROLMENT_MAX),
        Route::new(
            POST,
            "/v1/enrolments/activate",
            JoinToken,
            enrolments::activate,
        ),
        Route::new(POST, "/v1/challenges", Host, rounds::challenge),
        Route::new(POST, "/v1/evidence", Host, rounds::evidence).with_body_of(EVIDENCE_MAX),
        Route::new(
            POST,
            "/v1/endorsement-roots",
            Operator,
            endorsements::import,
        )
        .with_body_of(DOCUMENT_MAX),
        Route::new(GET, "/v1/endorsement-roots", Operator, endorsements::list),
        Route::new(
            GET,
            "/v1/endorsement-roots/unmatched",
            Operator,
            endorsements::unmatched,
        ),
        Route::new(POST, "/v1/inventory", Operator, inventory::add),
        Route::new(GET, "/v1/inventory", Operator, inventory::list),
        Route::new(GET, "/v1/inventory/{host}", Operator, inventory::show),
        Route::new(
            POST,
            "/v1/inventory/{host}/eks",
            Operator,
            inventory::add_eks,
        ),
        Route::new(
            POST,
            "/v1/inventory/{host}/remove",
            Operator,
            inventory::remove,
        ),
        Route::new(POST, "/v1/inventory-imports", Operator, inventory::import)
            .with_body_of(INVENTORY_MAX),
        Route::new(POST, "/v1/oems", Operator, oems::add),
        Route::new(GET, "/v1/oems", Operator, oems::list),
        Route::new(GET, "/v1/quarantine", Operator, quarantine::list),
        Route::new(
            POST,
            "/v1/quarantine/approve",
            Operator,
            quarantine::approve,
        ),
        Route::new(POST, "/v1/quarantine/reject", Operator, quarantine::reject),
        Route::new(POST, "/v1/join-tokens", Operator, join_tokens::create),
        Route::new(GET, "/v1/join-tokens", Operator, join_tokens::list),
        Route::new(
            POST,
            "/v1/join-tokens/revoke",
            Operator,
            join_tokens::revoke,
        ),
        Route::new(
            POST,
            "/v1/location/authorities",
            Operator,
            location::add_authority,
        ),
        Route::new(GET, "/v1/location/hosts/{host}", Operator, location::basis),
        Route::new(POST, "/v1/location/tags", Operator, location::issue),
        Route::new(PUT, "/v1/policies", Operator, policies::apply).with_body_of(DOCUMENT_MAX),
        Route::new(GET, "/v1/policies", Operator, policies::show),
        Route::new(GET, "/v1/policies/history", Operator, policies::history),
        Route::new(
            GET,
            "/v1/policies/{version}",
            Operator,
            policies::show_version,
        ),
        Route::new(POST, "/v1/nodes", Operator, nodes::map),
        Route::new(GET, "/v1/nodes", Operator, nodes::list),
        Route::new(GET, "/v1/hosts", Operator, hosts::list),
        Route::new(GET, "/v1/hosts/{host}", Operator, hosts::show),
        Route::new(GET, "/v1/hosts/{host}/result", Operator, hosts::result),
        Route::new(POST, "/v1/hosts/{host}/reenrol", Operator, service::reenrol),
        Route::new(POST, "/v1/hosts/{host}/retire", Operator, service::retire),
        Route::new(POST, "/v1/hosts/{host}/replace", Operator, service::replace),
        Route::new(
            POST,
            "/v1/hosts/{host}/firmware",
            Operator,
            firmware::accept,
        ),
        Route::new(GET, "/v1/audit/export", Operator, audit::export),
        Route::new(GET, "/v1/audit/checkpoint", Operator, audit::checkpoint),
        Route::new(
            POST,
            "/kubernetes/v1/validate",
            WebhookCertificate,
            reviews::validate,
        )
        .with_body_of(REVIEW_MAX),
        Route::new(
            POST,
            "/kubernetes/v1/validate/{secret}",
            WebhookSecret,
            reviews::validate,
        )
        .with_body_of(REVIEW_MAX),
    ]
}

/// The host that the path names; what cannot name one is a problem.
struct PathHost(HostId);

impl FromRequestParts<App> for PathHost {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let host = Path::<HostId>::from_request_parts(parts, app).await;
        host.map(|Path(host)| Self(host)).map_err(|rejection| {
            Problem::refused(rejection.status(), "malformed-path", rejection.body_text())
        })
    }
}

/// Why an operator does something, in words for the audit log; `{}` says nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: Option<Reason>,
}

/// A JSON body; what does not read is a problem.
struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let Json(body) = Json::from_request(request, app).await?;
        Ok(Self(body))
    }
}
