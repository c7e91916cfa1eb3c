//! Access: every route against callers without identity, with the wrong one and with the right one.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use touchstone_attestor::http::{access::Access, routes};
use touchstone_tests::liar::Liar;
use touchstone_tests::server::send;
use touchstone_tests::world::{World, healthy_host};

/// Callers, from nobody to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Nobody,
    WrongToken,
    WrongTokenWithKey,
    Operator,
    JoinTokenWithKey,
    JoinTokenWithoutKey,
    EnrolledHost,
    StrangersKey,
}

const CALLERS: [Caller; 8] = [
    Caller::Nobody,
    Caller::WrongToken,
    Caller::WrongTokenWithKey,
    Caller::Operator,
    Caller::JoinTokenWithKey,
    Caller::JoinTokenWithoutKey,
    Caller::EnrolledHost,
    Caller::StrangersKey,
];

/// Who may pass each rule. The webhook's are tried apart: its secret is in the path.
fn passes(access: Access, caller: Caller) -> bool {
    match access {
        Access::Anyone => true,
        Access::Operator => caller == Caller::Operator,
        Access::JoinToken => caller == Caller::JoinTokenWithKey,
        Access::Host => caller == Caller::EnrolledHost,
        Access::WebhookCertificate | Access::WebhookSecret => false,
    }
}

struct Callers {
    plain: Client,
    stranger: Client,
    host: Client,
    operator: String,
    join_secret: String,
}

impl Callers {
    async fn of(world: &World, liar: &Liar) -> Self {
        let operator = world.server.operator();
        let ca = operator["ca"].as_str().unwrap();
        let stranger = touchstone_agent::tls::TlsKey::generate().unwrap();
        let token = std::fs::read_to_string(&world.join_token).unwrap();
        let token: touchstone_evidence::wire::JoinToken = token.parse().unwrap();
        Self {
            plain: touchstone_tests::server::client(&operator),
            stranger: with_key(ca, &stranger),
            host: with_key(ca, &liar.identity.keys.tls),
            operator: operator["token"].as_str().unwrap().to_owned(),
            join_secret: token.secret.clone(),
        }
    }

    fn identity(&self, caller: Caller) -> (&Client, Option<&str>) {
        match caller {
            Caller::Nobody => (&self.plain, None),
            Caller::WrongToken => (&self.plain, Some("0000")),
            Caller::WrongTokenWithKey => (&self.stranger, Some("0000")),
            Caller::Operator => (&self.plain, Some(&self.operator)),
            Caller::JoinTokenWithKey => (&self.stranger, Some(&self.join_secret)),
            Caller::JoinTokenWithoutKey => (&self.plain, Some(&self.join_secret)),
            Caller::EnrolledHost => (&self.host, None),
            Caller::StrangersKey => (&self.stranger, None),
        }
    }
}

fn with_key(ca: &str, key: &touchstone_agent::tls::TlsKey) -> Client {
    let identity = format!("{}{}", key.certificate(), key.private_key());
    Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()])
        .identity(reqwest::Identity::from_pem(identity.as_bytes()).unwrap())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_only_whom_it_should() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let callers = Callers::of(&world, &liar).await;
    let mut tried = 0;
    for route in routes() {
        let path = route
            .path
            .replace("{host}", "de-1")
            .replace("{secret}", "guess");
        let url = format!("{}{path}", world.server.url);
        for caller in CALLERS {
            let (client, token) = callers.identity(caller);
            let body = (route.method != Method::GET).then(|| json!({ "not": "what is expected" }));
            let (status, answer) =
                send(client, route.method.clone(), &url, token, body.as_ref()).await;
            let denied = status == StatusCode::UNAUTHORIZED;
            assert_eq!(
                !denied,
                passes(route.access, caller),
                "{} {} by {caller:?}: {status} {answer}",
                route.method,
                route.path
            );
            tried += 1;
        }
    }
    assert_eq!(tried, routes().len() * CALLERS.len());
    eprintln!("{tried} combinations of route and caller");

    // What is not listed is denied, whoever asks.
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/v1/secrets"),
        (Method::DELETE, "/v1/hosts"),
    ] {
        let token = Some(callers.operator.as_str());
        let (status, _) = send(
            &callers.plain,
            method,
            &format!("{}{path}", world.server.url),
            token,
            None,
        )
        .await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_takes_the_secret_path_or_a_configured_key() {
    use touchstone_tests::database::Database;
    use touchstone_tests::server::Server;
    let key = touchstone_agent::tls::TlsKey::generate().unwrap();
    let digest = key.digest().unwrap().to_string();
    let server = Server::start_with(&Database::Sqlite, &["--webhook-caller", &digest]);
    let operator = server.operator();
    let ca = operator["ca"].as_str().unwrap();
    let (configured, other) = (
        with_key(ca, &key),
        with_key(ca, &touchstone_agent::tls::TlsKey::generate().unwrap()),
    );
    let review = touchstone_tests::review::create("u1", "payments", None);
    let plain = format!("{}/kubernetes/v1/validate", server.url);
    let secret = operator["webhook"].as_str().unwrap();
    let guess = format!("{plain}/{}", "0".repeat(64));
    let ask = async |client: &Client, url: &str| -> (StatusCode, Value) {
        send(client, Method::POST, url, None, Some(&review)).await
    };
    assert_eq!(ask(&configured, &plain).await.0, StatusCode::OK);
    assert_eq!(ask(&other, secret).await.0, StatusCode::OK);
    assert_eq!(ask(&other, &plain).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&configured, &guess).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_credential_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (world, _host, _maker) = healthy_host().await;
    let path = world.server.folder().join("operator.json");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = world.server.run(&["host", "list"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("chmod 600"), "{said}");
}
