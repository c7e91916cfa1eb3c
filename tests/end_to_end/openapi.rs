//! `GET /openapi.json` against the routes, against what a real attestor answers, and against what it refuses.

mod answers;
mod callers;
mod document;
mod requests;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use touchstone_attestor::http::{access::Access, routes};
use touchstone_tests::database::Database;
use touchstone_tests::server::Server;

use document::{Document, reached};

/// Routes with POST that take no body.
const BODILESS: [&str; 6] = [
    "/v1/layer-key-imports",
    "/v1/challenges",
    "/v1/keys/result/rotate",
    "/v1/keys/ca/rotate",
    "/v1/keys/webhook/rotate",
    "/v1/keys/webhook/revoke",
];

async fn served() -> Document {
    Document::of(&Server::start(&Database::under_test())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_has_an_operation_with_words_and_schemas() {
    let document = served().await;
    let mut ids = BTreeSet::new();
    for route in routes() {
        let operation = document.operation(&route.method, route.path);
        let name = format!("{} {}", route.method, route.path);
        for word in ["summary", "operationId"] {
            assert!(
                operation[word].as_str().is_some_and(|it| !it.is_empty()),
                "{name} has no {word}"
            );
        }
        assert!(ids.insert(operation["operationId"].to_string()), "{name}");
        let bodiless = route.method == Method::GET || BODILESS.contains(&route.path);
        assert_eq!(operation.get("requestBody").is_none(), bodiless, "{name}");
        let (_, schema) = document.answer(operation);
        assert!(schema.is_object(), "{name}: {schema}");
        let nobody = matches!(route.access, Access::Anyone | Access::WebhookSecret);
        let security = operation["security"].as_array().unwrap();
        assert_eq!(security.is_empty(), nobody, "{name}");
        let roles = match route.access {
            Access::Staff(roles) => Value::from_iter(roles.iter().map(|role| role.word())),
            _ => Value::Null,
        };
        assert_eq!(operation["x-roles"], roles, "{name}");
        let guarded = route.access != Access::Anyone;
        assert_eq!(operation["responses"].get("401").is_some(), guarded);
    }
    assert_eq!(ids.len(), document.operations().count(), "one is left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_leads_somewhere_and_every_part_is_reached() {
    let document = served().await;
    let reached = reached(&document.0);
    for reference in &reached {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.0.pointer(pointer).is_some(), "{reference}");
    }
    for kind in ["schemas", "parameters", "responses"] {
        let parts = document.0["components"][kind].as_object().unwrap();
        for name in parts.keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(reached.contains(&reference), "nothing uses {reference}");
        }
    }
    let ways = &document.0["components"]["securitySchemes"];
    let mut shown = BTreeSet::new();
    for (_, operation) in document.operations() {
        let choices = operation["security"].as_array().unwrap().iter();
        shown.extend(choices.flat_map(|choice| choice.as_object().unwrap().keys()));
    }
    assert_eq!(shown, ways.as_object().unwrap().keys().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schema_is_one_and_its_examples_follow_it() {
    let document = served().await;
    let schemas = document.0["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|e| panic!("{name}: {e}"));
        let examples = schema["examples"].as_array().into_iter().flatten();
        for example in examples {
            document.assert_valid(schema, example, name);
        }
    }
}
