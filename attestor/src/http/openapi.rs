//! `GET /openapi.json`: every route for programs that write clients, as OpenAPI 3.1.
//!
//! Paths, access, sizes and refusals come from [`routes`](super::routes) itself; what only people can say stands
//! in the files below `openapi/`, which tests hold against the routes and their answers.

mod operation;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::Route;
use super::problem::Problem;
use operation::{Described, operation};

/// By method and path.
const OPERATIONS: &str = include_str!("openapi/operations.json");
/// Parameters, responses and ways to show who calls.
const COMPONENTS: &str = include_str!("openapi/components.json");
const SCHEMAS: [&str; 11] = [
    include_str!("openapi/schemas/parts.json"),
    include_str!("openapi/schemas/agents.json"),
    include_str!("openapi/schemas/requests.json"),
    include_str!("openapi/schemas/service.json"),
    include_str!("openapi/schemas/machines.json"),
    include_str!("openapi/schemas/policies.json"),
    include_str!("openapi/schemas/hosts.json"),
    include_str!("openapi/schemas/location.json"),
    include_str!("openapi/schemas/layers.json"),
    include_str!("openapi/schemas/secrets.json"),
    include_str!("openapi/schemas/workloads.json"),
];

/// The document; made when it is first asked for.
pub(super) async fn show() -> Result<impl IntoResponse, Problem> {
    static DOCUMENT: LazyLock<serde_json::Result<Bytes>> = LazyLock::new(|| {
        let document = document(&super::routes())?;
        Ok(serde_json::to_vec(&document)?.into())
    });
    match &*DOCUMENT {
        Ok(bytes) => Ok(([(CONTENT_TYPE, "application/json")], bytes.clone())),
        Err(error) => Err(Problem::internal(error)),
    }
}

fn document(routes: &[Route]) -> serde_json::Result<Value> {
    let described = described()?;
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let words = described.get(&name(route));
        let method = route.method.as_str().to_ascii_lowercase();
        let path = paths.entry(route.path).or_default();
        path.insert(method, operation(route, words));
    }
    let mut components: Map<String, Value> = serde_json::from_str(COMPONENTS)?;
    components.insert("schemas".to_owned(), schemas()?.into());
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Touchstone attestor",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Decides which container hosts can be trusted, on evidence of their TPMs",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": components,
    }))
}

fn described() -> serde_json::Result<BTreeMap<String, Described>> {
    serde_json::from_str(OPERATIONS)
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

fn schemas() -> serde_json::Result<Map<String, Value>> {
    let mut all = Map::new();
    for file in SCHEMAS {
        let some: Map<String, Value> = serde_json::from_str(file)?;
        all.extend(some);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let described: BTreeSet<String> = described().unwrap().into_keys().collect();
        let served: BTreeSet<String> = super::super::routes().iter().map(name).collect();
        assert_eq!(described, served);
    }

    #[test]
    fn no_schema_hides_another_of_its_name() {
        let names = SCHEMAS.map(|file| {
            let some: Map<String, Value> = serde_json::from_str(file).unwrap();
            some.len()
        });
        assert_eq!(names.iter().sum::<usize>(), schemas().unwrap().len());
    }
}
