//! Who is meant to pass: written down once more, beside the routes themselves.

use reqwest::Method;
use touchstone_attestor::http::Route;
use touchstone_attestor::http::access::Access;
use touchstone_attestor::role::Role;

use super::callers::Caller;

/// What is to become of a caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    /// 401: nobody knows it.
    Unknown,
    /// 403: it is known, and this is not for it.
    Forbidden,
}

/// The webhook's rules are tried apart: its secret is in the path.
pub(super) fn fate(access: Access, caller: Caller) -> Fate {
    let passes = match access {
        Access::Anyone => true,
        Access::Staff(roles) => match caller {
            Caller::Token(role) | Caller::TlsKey(role) if roles.contains(&role) => true,
            Caller::Token(_) | Caller::TlsKey(_) => return Fate::Forbidden,
            _ => false,
        },
        Access::JoinToken => caller == Caller::JoinTokenWithKey,
        Access::Host => caller == Caller::EnrolledHost,
        Access::WebhookCertificate | Access::WebhookSecret => false,
    };
    if passes { Fate::Passes } else { Fate::Unknown }
}

/// The roles that may call each route, as they are meant to be. What is not here is for no role.
const MEANT: [(&str, &[Role]); 9] = [
    ("GET /metrics", READERS),
    ("GET /v1/hosts", RELYING),
    ("GET /v1/hosts/{host}", RELYING),
    ("GET /v1/hosts/{host}/result", RELYING),
    ("GET /v1/workloads", RELYING),
    ("GET /v1/workloads/{namespace}/{name}", RELYING),
    ("POST /v1/images", PUBLISHERS),
    ("POST /v1/layer-keys/{key}/wrap", PUBLISHERS),
    ("GET /v1/keys", &Role::ALL),
];
/// The acts of officers; all other acts are the operator's.
const OFFICERS: [&str; 11] = [
    "POST /v1/leases/revoke",
    "POST /v1/leases/restore",
    "POST /v1/references",
    "POST /v1/references/activate",
    "POST /v1/location/authorities/revoke",
    "POST /v1/location/tags/revoke",
    "POST /v1/policies/plan",
    "POST /v1/location/authorities",
    "POST /v1/location/tags",
    "PUT /v1/policies",
    "POST /v1/hosts/{host}/firmware",
];
/// Who acts by verdicts. Publishers do not: they see nothing of the fleet.
const RELYING: &[Role] = &[
    Role::RelyingParty,
    Role::Auditor,
    Role::Officer,
    Role::Operator,
];
const PUBLISHERS: &[Role] = &[Role::Publisher, Role::Operator];
const READERS: &[Role] = &[Role::Auditor, Role::Officer, Role::Operator];

/// The roles that may call `route`.
pub(super) fn meant(route: &Route) -> &'static [Role] {
    let name = format!("{} {}", route.method, route.path);
    if let Some((_, roles)) = MEANT.iter().find(|(known, _)| *known == name) {
        return roles;
    }
    match route.method {
        Method::GET => READERS,
        _ if OFFICERS.contains(&name.as_str()) => &[Role::Officer, Role::Operator],
        _ => &[Role::Operator],
    }
}
