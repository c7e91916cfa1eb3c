//! An attestor with a caller for each access rule.

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use touchstone_agent::tls::TlsKey;
use touchstone_attestor::http::access::Access;
use touchstone_attestor::http::routes;
use touchstone_evidence::wire::JoinToken;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::liar::Liar;
use touchstone_tests::server::{Server, client};
use touchstone_tests::world::{Maker, World};

use super::document::Document;
use crate::access::with_key;

/// The attestor, its document, and whoever may call.
pub(super) struct Callers {
    pub(super) document: Document,
    pub(super) world: World,
    pub(super) maker: Maker,
    /// `de-1`: healthy, in Germany.
    pub(super) host: Host,
    pub(super) liar: Liar,
    token: String,
    join_secret: String,
    webhook_secret: String,
    plain: Client,
    joining: Client,
    enrolled: Client,
    webhook: Client,
}

/// What came of a request.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) media: String,
    pub(super) body: Value,
}

impl Callers {
    pub(super) async fn new() -> Self {
        let webhook = TlsKey::generate().unwrap();
        let key = webhook.digest().unwrap().to_string();
        let server = Server::start_with(&Database::under_test(), &["--webhook-caller", &key]);
        let maker = Maker::new();
        let world = World::on(server, &maker);
        let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
        assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
        world.workload("u0").await;
        let liar = Liar::take(&host, &world.server).await;
        let operator = world.server.operator();
        let word = |name: &str| operator[name].as_str().unwrap().to_owned();
        let ca = word("ca");
        let join_token = std::fs::read_to_string(&world.join_token).unwrap();
        let join_token: JoinToken = join_token.parse().unwrap();
        let secret = word("webhook").rsplit('/').next().unwrap().to_owned();
        Self {
            document: Document::of(&world.server).await,
            token: word("token"),
            join_secret: join_token.secret.clone(),
            webhook_secret: secret,
            plain: client(&operator),
            joining: with_key(&ca, &TlsKey::generate().unwrap()),
            enrolled: with_key(&ca, &liar.identity.keys.tls),
            webhook: with_key(&ca, &webhook),
            world,
            maker,
            host,
            liar,
        }
    }

    /// Calls a route as somebody who may. In `path` stands `{host}` for `host`, or `{key}`, and `{version}` for 1;
    /// `{namespace}` and `{name}` for the workload.
    pub(super) async fn call(
        &self,
        method: &Method,
        path: &str,
        host: &str,
        body: Option<&Value>,
    ) -> Answered {
        let mut routes = routes().into_iter();
        let route = routes.find(|route| route.method == method && route.path == path);
        let (client, token) = match route.unwrap().access {
            Access::Anyone | Access::WebhookSecret => (&self.plain, None),
            Access::Staff(_) => (&self.plain, Some(&self.token)),
            Access::JoinToken => (&self.joining, Some(&self.join_secret)),
            Access::Host => (&self.enrolled, None),
            Access::WebhookCertificate => (&self.webhook, None),
        };
        let path = path
            .replace("{host}", host)
            .replace("{version}", "1")
            .replace("{key}", host)
            .replace("{namespace}", "payments")
            .replace("{name}", "api")
            .replace("{secret}", &self.webhook_secret);
        let url = format!("{}{path}", self.world.server.url);
        let mut request = client.request(method.clone(), url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let media = answer.headers()["content-type"].to_str().unwrap();
        let (status, media) = (answer.status(), media.to_owned());
        let text = answer.text().await.unwrap();
        let body = match media.contains("json") && !media.contains("jsonl") {
            true => serde_json::from_str(&text).unwrap(),
            false => Value::String(text),
        };
        Answered {
            status,
            media,
            body,
        }
    }

    /// Ends the test where an answer is not as the document has it.
    pub(super) fn check(&self, method: &Method, path: &str, answered: &Answered) {
        let Answered {
            status,
            media,
            body,
        } = answered;
        let what = format!("{method} {path}, {status}");
        let operation = self.document.operation(method, path);
        if *status == StatusCode::OK {
            let (told, schema) = self.document.answer(operation);
            assert_eq!(media, told, "{what}");
            return self.document.assert_valid(schema, body, &what);
        }
        let responses = &operation["responses"];
        let told = responses.get(status.as_str());
        let told = self
            .document
            .resolved(told.unwrap_or(&responses["default"]));
        let schema = &told["content"][media]["schema"];
        assert!(schema.is_object(), "{what} comes as {media}");
        self.document.assert_valid(schema, body, &what);
    }
}
