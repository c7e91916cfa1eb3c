//! Access: every route against callers without identity, with the wrong one and with the right one.

mod callers;
mod credentials;
mod meant;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use touchstone_attestor::http::{access::Access, routes};
use touchstone_attestor::role::Role;
use touchstone_tests::database::Database;
use touchstone_tests::liar::Liar;
use touchstone_tests::server::{Server, send};
use touchstone_tests::world::healthy_host;

pub(crate) use callers::with_key;
use callers::{Callers, callers};
use meant::{Fate, fate, meant};

#[test]
fn every_route_is_for_the_roles_that_it_is_meant_for() {
    for route in routes() {
        if let Access::Staff(roles) = route.access {
            assert_eq!(roles, meant(&route), "{} {}", route.method, route.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_only_whom_it_should() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let those = Callers::of(&world, &liar).await;
    let mut tried = 0;
    for route in routes() {
        let path = route
            .path
            .replace("{host}", "de-1")
            .replace("{version}", "1")
            .replace("{key}", "payments")
            .replace("{namespace}", "payments")
            .replace("{name}", "api")
            .replace("{secret}", "guess");
        let url = format!("{}{path}", world.server.url);
        for caller in callers() {
            let (client, token) = those.identity(caller);
            let body = (route.method != Method::GET).then(|| json!({ "not": "what is expected" }));
            let (status, answer) =
                send(client, route.method.clone(), &url, token, body.as_ref()).await;
            let code = answer["type"].as_str().unwrap_or_default();
            let became = match (status, code.trim_start_matches("touchstone:")) {
                (StatusCode::UNAUTHORIZED, "unauthenticated") => Fate::Unknown,
                (StatusCode::FORBIDDEN, "role-insufficient") => Fate::Forbidden,
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                    panic!("{status} {answer}")
                }
                _ => Fate::Passes,
            };
            assert_eq!(
                became,
                fate(route.access, caller),
                "{} {} by {caller:?}: {status} {answer}",
                route.method,
                route.path
            );
            tried += 1;
        }
    }
    assert_eq!(tried, routes().len() * callers().len());
    eprintln!("{tried} combinations of route and caller");

    // What is not listed is denied, whoever asks.
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/v1/secrets"),
        (Method::DELETE, "/v1/hosts"),
    ] {
        let (_, _, token) = those.of_role(Role::Operator);
        let url = format!("{}{path}", world.server.url);
        let (status, _) = send(&those.plain, method, &url, Some(token), None).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_takes_the_secret_path_or_a_configured_key() {
    let key = touchstone_agent::tls::TlsKey::generate().unwrap();
    let digest = key.digest().unwrap().to_string();
    let server = Server::start_with(&Database::under_test(), &["--webhook-caller", &digest]);
    let operator = server.operator();
    let ca = operator["ca"].as_str().unwrap();
    let (configured, other) = (
        with_key(ca, &key),
        with_key(ca, &touchstone_agent::tls::TlsKey::generate().unwrap()),
    );
    let review = touchstone_tests::review::create("u1", "payments", None);
    let scheduling =
        json!({ "Pod": review["request"]["object"], "Nodes": null, "NodeNames": ["node-de-1"] });
    for (seam, body) in [
        ("validate", &review),
        ("mutate", &review),
        ("extender/filter", &scheduling),
        ("extender/prioritize", &scheduling),
    ] {
        let plain = format!("{}/kubernetes/v1/{seam}", server.url);
        let secret = server.seam(seam);
        let guess = format!("{plain}/{}", "0".repeat(64));
        let ask = async |client: &Client, url: &str| {
            let asked: (StatusCode, Value) =
                send(client, Method::POST, url, None, Some(body)).await;
            asked.0
        };
        assert_eq!(ask(&configured, &plain).await, StatusCode::OK);
        assert_eq!(ask(&other, &secret).await, StatusCode::OK);
        assert_eq!(ask(&other, &plain).await, StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&configured, &guess).await, StatusCode::UNAUTHORIZED);
    }
}
