//! One route as an OpenAPI operation.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::Route;
use crate::http::access::Access;
use crate::role::Role;

/// What only people can say of a route.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Described {
    /// How generated clients call it.
    id: String,
    summary: String,
    /// What it takes after a `?`.
    #[serde(default)]
    query: Vec<String>,
    /// Name of the schema of its body.
    request: Option<String>,
    /// Name of the schema of its answer; absent: text.
    answer: Option<String>,
    /// `Content-Type` of an answer that is text.
    media: Option<String>,
}

/// The operation of `route`. What nobody described is left out.
pub(super) fn operation(route: &Route, described: Option<&Described>) -> Value {
    let mut operation = Map::new();
    let mut put = |name: &str, value: Value| operation.insert(name.to_owned(), value);
    put("tags", json!([tag(route.path)]));
    put("security", security(route.access));
    put("x-access", json!(word(route.access)));
    if let Access::Staff(roles) = route.access {
        let roles: Vec<&str> = roles.iter().map(|role: &Role| role.word()).collect();
        put("x-roles", json!(roles));
    }
    let query = described.map(|described| described.query.iter().map(String::as_str));
    let parameters: Vec<Value> = parameters(route.path)
        .chain(query.into_iter().flatten())
        .map(parameter)
        .collect();
    if !parameters.is_empty() {
        put("parameters", json!(parameters));
    }
    let Some(described) = described else {
        return operation.into();
    };
    put("operationId", json!(described.id));
    put("summary", json!(described.summary));
    if let Some(request) = &described.request {
        put("x-body-max", json!(route.body_max));
        let content = json!({ "application/json": { "schema": schema(request) } });
        put(
            "requestBody",
            json!({ "required": true, "content": content }),
        );
    }
    put("responses", responses(route, described));
    operation.into()
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The parts of a path that the caller fills in.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    let parts = path.split('/');
    parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

/// What a route is about: `/v1/TAG/…`, `/TAG/…`.
fn tag(path: &str) -> &str {
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("v1"), Some(tag)) | (Some(tag), Some(_)) => tag,
        _ => "service",
    }
}

/// One of the list is enough; what stands together is needed together.
fn security(access: Access) -> Value {
    match access {
        // The secret is part of the path.
        Access::Anyone | Access::WebhookSecret => json!([]),
        Access::Staff(_) => json!([{ "token": [] }, { "tls-key": [] }]),
        Access::JoinToken => json!([{ "join-token": [], "tls-key": [] }]),
        Access::Host | Access::WebhookCertificate => json!([{ "tls-key": [] }]),
    }
}

fn word(access: Access) -> &'static str {
    match access {
        Access::Anyone => "anyone",
        Access::Staff(_) => "staff",
        Access::JoinToken => "join-token",
        Access::Host => "host",
        Access::WebhookCertificate | Access::WebhookSecret => "webhook",
    }
}

fn responses(route: &Route, described: &Described) -> Value {
    let (media, schema) = match &described.answer {
        Some(name) => ("application/json", schema(name)),
        None => (
            described.media.as_deref().unwrap_or("text/plain"),
            json!({ "type": "string" }),
        ),
    };
    let mut responses = Map::new();
    let answer =
        json!({ "description": described.summary, "content": { media: { "schema": schema } } });
    responses.insert("200".to_owned(), answer);
    if !described.query.is_empty() {
        let why = "What comes after the `?` cannot be read";
        let problem = json!({ "$ref": "#/components/responses/Problem", "description": why });
        responses.insert("400".to_owned(), problem);
    }
    for (status, why) in refusals(route, described.request.is_some()) {
        let problem = json!({ "$ref": "#/components/responses/Problem", "description": why });
        responses.insert(status.to_owned(), problem);
    }
    responses.into()
}

/// Statuses of the refusals that a caller has to expect, each with its reason.
fn refusals(route: &Route, body: bool) -> BTreeMap<&'static str, &'static str> {
    let mut refusals = BTreeMap::from([
        ("503", "The attestor cannot do its work; ask again"),
        ("default", "Refused, for the reason that the code names"),
    ]);
    if route.access != Access::Anyone {
        refusals.insert("401", "Nobody knows the caller");
    }
    if matches!(route.access, Access::Staff(_) | Access::JoinToken) {
        refusals.insert("403", "This is not for the caller");
    }
    if route.access == Access::Host {
        refusals.insert("429", "The host sends too much");
    }
    if body {
        refusals.extend([
            ("400", "The body is no JSON"),
            ("408", "The body came too slowly"),
            ("413", "The body is larger than `x-body-max`"),
            ("415", "The body is not sent as plain JSON"),
            ("422", "The body says what cannot be done"),
        ]);
    }
    if parameters(route.path).any(|name| name != "secret") {
        refusals.extend([
            ("400", "The path, or the body, cannot be read"),
            ("404", "There is no such thing"),
        ]);
    }
    refusals
}
