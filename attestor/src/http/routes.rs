//! The table of routes: for whom each is, and how large its body may be.

mod audit;
mod credentials;
mod data_keys;
mod endorsements;
mod enrolments;
mod explanations;
mod extender;
mod extract;
mod firmware;
mod hosts;
mod identities;
mod images;
mod inventory;
mod join_tokens;
mod keys;
mod layer_keys;
mod leases;
mod location;
mod log_key;
mod nodes;
mod oems;
mod policies;
mod purges;
mod quarantine;
mod references;
mod releases;
mod reviews;
mod rounds;
mod service;
mod status;
mod workloads;

use axum::http::Method;

use extract::{Acting, Body, PathHost, PathKey, Why};

use super::Route;
use super::access::Access;
use crate::role::Role;

/// A boot log and a part of a runtime list, each at most 1 MiB and a little, in base64, and the rest of a round.
const EVIDENCE_MAX: usize = 3 << 20;
/// An EK certificate and sixteen intermediates in base64.
const ENROLMENT_MAX: usize = 128 << 10;
/// Kubernetes objects have at most 1.5 MiB in etcd; a review holds up to two.
const REVIEW_MAX: usize = 4 << 20;
/// A pod, and the nodes of a large cluster: by name some hundred kilobytes, as objects some tens of megabytes.
const SCHEDULING_MAX: usize = 64 << 20;
/// An image's manifest of 4 MiB in base64.
const IMAGE_MAX: usize = 6 << 20;
/// Policy manifests and certificate bundles.
const DOCUMENT_MAX: usize = 5 << 20;
/// A hundred thousand machines with two EKs each.
const INVENTORY_MAX: usize = 24 << 20;

/// Whoever has a credential.
const ANY_ROLE: Access = Access::Staff(&Role::ALL);
/// Whoever acts by verdicts.
const RESULTS: Access = Access::Staff(&[
    Role::RelyingParty,
    Role::Auditor,
    Role::Officer,
    Role::Operator,
]);
/// Who makes images.
const PUBLISH: Access = Access::Staff(&[Role::Publisher, Role::Operator]);
/// Whoever may see everything.
const READ: Access = Access::Staff(&[Role::Auditor, Role::Officer, Role::Operator]);
/// Who decides what is good, and where machines stand.
const DECIDE: Access = Access::Staff(&[Role::Officer, Role::Operator]);
/// Who runs the fleet.
const OPERATE: Access = Access::Staff(&[Role::Operator]);

pub(super) fn all() -> Vec<Route> {
    use Access::{Anyone, Host, JoinToken, WebhookCertificate, WebhookSecret};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    vec![
        Route::new(GET, "/healthz", Anyone, status::healthz),
        Route::new(GET, "/readyz", Anyone, status::readyz),
        Route::new(GET, "/openapi.json", Anyone, super::openapi::show),
        Route::new(GET, "/metrics", READ, status::metrics),
        Route::new(GET, "/v1/keys", ANY_ROLE, keys::list),
        Route::new(POST, "/v1/keys/result/rotate", OPERATE, keys::rotate_result),
        Route::new(POST, "/v1/keys/result/revoke", OPERATE, keys::revoke_result),
        Route::new(GET, "/v1/ca", Host, keys::ca),
        Route::new(POST, "/v1/keys/ca/rotate", OPERATE, keys::rotate_ca),
        Route::new(POST, "/v1/keys/ca/activate", OPERATE, keys::activate_ca),
        Route::new(
            POST,
            "/v1/keys/webhook/rotate",
            OPERATE,
            keys::rotate_webhook,
        ),
        Route::new(
            POST,
            "/v1/keys/webhook/revoke",
            OPERATE,
            keys::revoke_webhook,
        ),
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
        Route::new(POST, "/v1/releases", Host, releases::release).with_body_of(EVIDENCE_MAX),
        Route::new(POST, "/v1/data-keys", Host, data_keys::make).with_body_of(EVIDENCE_MAX),
        Route::new(POST, "/v1/data-keys/open", Host, data_keys::open).with_body_of(EVIDENCE_MAX),
        Route::new(POST, "/v1/purges", Host, purges::note),
        Route::new(POST, "/v1/endorsement-roots", OPERATE, endorsements::import)
            .with_body_of(DOCUMENT_MAX),
        Route::new(GET, "/v1/endorsement-roots", READ, endorsements::list),
        Route::new(
            GET,
            "/v1/endorsement-roots/unmatched",
            READ,
            endorsements::unmatched,
        ),
        Route::new(POST, "/v1/inventory", OPERATE, inventory::add),
        Route::new(GET, "/v1/inventory", READ, inventory::list),
        Route::new(GET, "/v1/inventory/{host}", READ, inventory::show),
        Route::new(
            POST,
            "/v1/inventory/{host}/eks",
            OPERATE,
            inventory::add_eks,
        ),
        Route::new(
            POST,
            "/v1/inventory/{host}/remove",
            OPERATE,
            inventory::remove,
        ),
        Route::new(POST, "/v1/inventory-imports", OPERATE, inventory::import)
            .with_body_of(INVENTORY_MAX),
        Route::new(POST, "/v1/oems", OPERATE, oems::add),
        Route::new(GET, "/v1/oems", READ, oems::list),
        Route::new(GET, "/v1/quarantine", READ, quarantine::list),
        Route::new(POST, "/v1/quarantine/approve", OPERATE, quarantine::approve),
        Route::new(POST, "/v1/quarantine/reject", OPERATE, quarantine::reject),
        Route::new(POST, "/v1/join-tokens", OPERATE, join_tokens::create),
        Route::new(GET, "/v1/join-tokens", READ, join_tokens::list),
        Route::new(POST, "/v1/join-tokens/revoke", OPERATE, join_tokens::revoke),
        Route::new(
            POST,
            "/v1/location/authorities",
            DECIDE,
            location::add_authority,
        ),
        Route::new(GET, "/v1/location/authorities", READ, location::authorities),
        Route::new(
            POST,
            "/v1/location/authorities/revoke",
            DECIDE,
            location::revoke_authority,
        ),
        Route::new(POST, "/v1/location/tags/revoke", DECIDE, location::revoke),
        Route::new(
            GET,
            "/v1/location/hosts/{host}/history",
            READ,
            location::history,
        ),
        Route::new(GET, "/v1/location/hosts/{host}", READ, location::basis),
        Route::new(POST, "/v1/location/tags", DECIDE, location::issue),
        Route::new(PUT, "/v1/policies", DECIDE, policies::apply).with_body_of(DOCUMENT_MAX),
        Route::new(GET, "/v1/policies", READ, policies::show),
        Route::new(POST, "/v1/policies/plan", DECIDE, policies::plan).with_body_of(DOCUMENT_MAX),
        Route::new(GET, "/v1/policies/history", READ, policies::history),
        Route::new(GET, "/v1/policies/{version}", READ, policies::show_version),
        Route::new(POST, "/v1/references", DECIDE, references::capture),
        Route::new(GET, "/v1/references", READ, references::list),
        Route::new(
            POST,
            "/v1/references/activate",
            DECIDE,
            references::activate,
        ),
        Route::new(POST, "/v1/nodes/unmap", OPERATE, nodes::unmap),
        Route::new(POST, "/v1/nodes", OPERATE, nodes::map),
        Route::new(GET, "/v1/nodes", READ, nodes::list),
        Route::new(GET, "/v1/hosts", RESULTS, hosts::list),
        Route::new(GET, "/v1/hosts/{host}", RESULTS, hosts::show),
        Route::new(
            GET,
            "/v1/hosts/{host}/explanation",
            READ,
            explanations::explain,
        ),
        Route::new(GET, "/v1/hosts/{host}/result", RESULTS, hosts::result),
        Route::new(POST, "/v1/hosts/{host}/reenrol", OPERATE, service::reenrol),
        Route::new(POST, "/v1/hosts/{host}/retire", OPERATE, service::retire),
        Route::new(POST, "/v1/hosts/{host}/replace", OPERATE, service::replace),
        Route::new(POST, "/v1/hosts/{host}/firmware", DECIDE, firmware::accept),
        Route::new(GET, "/v1/audit/export", READ, audit::export),
        Route::new(GET, "/v1/audit/checkpoint", READ, audit::checkpoint),
        Route::new(POST, "/v1/keys/checkpoint/rotate", OPERATE, log_key::rotate),
        Route::new(GET, "/v1/layer-keys", READ, layer_keys::list),
        Route::new(POST, "/v1/layer-keys", OPERATE, layer_keys::create),
        Route::new(
            POST,
            "/v1/layer-keys/{key}/rotate",
            OPERATE,
            layer_keys::rotate,
        ),
        Route::new(
            POST,
            "/v1/layer-keys/{key}/disable",
            OPERATE,
            layer_keys::disable,
        ),
        Route::new(
            POST,
            "/v1/layer-keys/{key}/enable",
            OPERATE,
            layer_keys::enable,
        ),
        Route::new(
            POST,
            "/v1/layer-keys/{key}/destroy",
            OPERATE,
            layer_keys::destroy,
        ),
        Route::new(
            POST,
            "/v1/layer-keys/{key}/import",
            OPERATE,
            layer_keys::import,
        ),
        Route::new(POST, "/v1/layer-keys/{key}/wrap", PUBLISH, layer_keys::wrap),
        Route::new(
            POST,
            "/v1/layer-key-imports",
            OPERATE,
            layer_keys::make_import_key,
        ),
        Route::new(GET, "/v1/leases", READ, leases::list),
        Route::new(POST, "/v1/leases/revoke", DECIDE, leases::revoke),
        Route::new(POST, "/v1/leases/restore", DECIDE, leases::restore),
        Route::new(GET, "/v1/images", READ, images::list),
        Route::new(POST, "/v1/images", PUBLISH, images::register).with_body_of(IMAGE_MAX),
        Route::new(GET, "/v1/workloads", RESULTS, workloads::list),
        Route::new(
            GET,
            "/v1/workloads/{namespace}/{name}",
            RESULTS,
            workloads::show,
        ),
        Route::new(GET, "/v1/credentials", READ, credentials::list),
        Route::new(POST, "/v1/credentials", OPERATE, credentials::create),
        Route::new(POST, "/v1/credentials/revoke", OPERATE, credentials::revoke),
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
        Route::new(
            POST,
            "/kubernetes/v1/mutate",
            WebhookCertificate,
            reviews::mutate,
        )
        .with_body_of(REVIEW_MAX),
        Route::new(
            POST,
            "/kubernetes/v1/mutate/{secret}",
            WebhookSecret,
            reviews::mutate,
        )
        .with_body_of(REVIEW_MAX),
        Route::new(
            POST,
            "/kubernetes/v1/extender/filter",
            WebhookCertificate,
            extender::filter,
        )
        .with_body_of(SCHEDULING_MAX),
        Route::new(
            POST,
            "/kubernetes/v1/extender/filter/{secret}",
            WebhookSecret,
            extender::filter,
        )
        .with_body_of(SCHEDULING_MAX),
        Route::new(
            POST,
            "/kubernetes/v1/extender/prioritize",
            WebhookCertificate,
            extender::prioritize,
        )
        .with_body_of(SCHEDULING_MAX),
        Route::new(
            POST,
            "/kubernetes/v1/extender/prioritize/{secret}",
            WebhookSecret,
            extender::prioritize,
        )
        .with_body_of(SCHEDULING_MAX),
    ]
}
