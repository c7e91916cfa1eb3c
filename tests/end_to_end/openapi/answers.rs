//! What a real attestor answers on every route, against the document: no field that nobody described.

mod keys;
mod machines;
mod pods;
mod trust;

use std::cell::RefCell;
use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_attestor::http::routes;
use touchstone_evidence::wire::Challenge;
use touchstone_tests::host::{Host, Profile};

use super::callers::Callers;

/// A fleet to which everything happens that the interface speaks of.
struct Story {
    callers: Callers,
    /// Routes whose answer was seen.
    told: RefCell<BTreeSet<String>>,
}

impl Story {
    /// Calls a route, which must answer as it is described; the answer.
    async fn ask(&self, method: Method, path: &str, host: &str, body: Option<Value>) -> Value {
        let callers = &self.callers;
        if let Some(body) = &body {
            let operation = callers.document.operation(&method, path);
            let schema = callers.document.request(operation).unwrap();
            callers.document.assert_valid(schema, body, path);
        }
        let answered = callers.call(&method, path, host, body.as_ref()).await;
        callers.check(&method, path, &answered);
        assert_eq!(answered.status, StatusCode::OK, "{path}: {}", answered.body);
        self.told.borrow_mut().insert(format!("{method} {path}"));
        answered.body
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, "de-1", Some(body)).await
    }

    /// Everything that can be read, as it stands now.
    async fn read_all(&self, host: &str) {
        for route in routes() {
            if route.method == Method::GET {
                self.ask(Method::GET, route.path, host, None).await;
            }
        }
    }

    async fn machine(&self, name: &str) -> Host {
        let host = Host::boot(&self.callers.maker.authority, name, Profile::Healthy);
        self.callers.world.admit(&host, None).await;
        host
    }

    /// A round of `de-1`; its tier.
    async fn round(&self) -> Value {
        let path = "/v1/challenges";
        let challenge = self.ask(Method::POST, path, "de-1", None).await;
        let challenge: Challenge = serde_json::from_value(challenge).unwrap();
        let evidence = self.callers.liar.evidence(&challenge).await;
        let answer = self.post("/v1/evidence", json!(evidence)).await;
        answer["tier"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_it_is_described() {
    let story = Story {
        callers: Callers::new().await,
        told: RefCell::default(),
    };
    story.read_all("de-1").await;
    let second = story.enrolment().await;
    story.pods().await;
    story.placements().await;
    story.policies().await;
    story.purge().await;
    story.strangers().await;
    story.makers().await;
    story.inventory().await;
    story.secrets().await;
    story.layers().await;
    story.places().await;
    story.read_all("de-1").await;
    story.service(&second).await;
    story.exchanges().await;
    let told = story.told.into_inner();
    let routes = routes().into_iter();
    let all: BTreeSet<String> = routes
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(told, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_described_as_well() {
    let callers = Callers::new().await;
    for (method, path, host, status) in [
        (Method::GET, "/v1/hosts/{host}", "nobody", 404),
        (Method::GET, "/v1/hosts/{host}", "No-Name", 400),
        (Method::POST, "/v1/join-tokens/revoke", "", 422),
    ] {
        let body = (method == Method::POST).then(|| json!({ "id": "00" }));
        let answered = callers.call(&method, path, host, body.as_ref()).await;
        assert_eq!(answered.status.as_u16(), status, "{}", answered.body);
        callers.check(&method, path, &answered);
        let operation = callers.document.operation(&method, path);
        let told = operation["responses"].get(status.to_string());
        assert!(told.is_some(), "{method} {path} does not tell of {status}");
    }
}
