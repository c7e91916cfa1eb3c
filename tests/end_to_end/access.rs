//! Access: every route against callers without identity, with the wrong one and with the right one.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use touchstone_attestor::http::{Route, access::Access, routes};
use touchstone_attestor::role::Role;
use touchstone_evidence::wire::JoinToken;
use touchstone_tests::database::Database;
use touchstone_tests::liar::Liar;
use touchstone_tests::server::{Server, send};
use touchstone_tests::slow::Slow;
use touchstone_tests::world::{World, healthy_host};

/// Whoever may come to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Nobody,
    WrongToken,
    WrongTokenWithKey,
    Token(Role),
    TlsKey(Role),
    /// An operator's token whose time is over.
    Expired,
    /// An operator's token that was taken back.
    Revoked,
    JoinTokenWithKey,
    JoinTokenWithoutKey,
    EnrolledHost,
    /// A certificate of another CA, in an operator's name.
    OtherCa,
    /// The digest of an operator's TLS key, as a token.
    KeyAsToken,
}

fn callers() -> Vec<Caller> {
    use Caller::{
        EnrolledHost, Expired, JoinTokenWithKey, JoinTokenWithoutKey, KeyAsToken, Nobody, OtherCa,
        Revoked, WrongToken, WrongTokenWithKey,
    };
    let others = [
        Nobody,
        WrongToken,
        WrongTokenWithKey,
        Expired,
        Revoked,
        JoinTokenWithKey,
        JoinTokenWithoutKey,
        EnrolledHost,
        OtherCa,
        KeyAsToken,
    ];
    let staff = Role::ALL.map(|role| [Caller::Token(role), Caller::TlsKey(role)]);
    others
        .into_iter()
        .chain(staff.into_iter().flatten())
        .collect()
}

/// What is to become of a caller.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Passes,
    /// 401: nobody knows it.
    Unknown,
    /// 403: it is known, and this is not for it.
    Forbidden,
}

/// The webhook's rules are tried apart: its secret is in the path.
fn fate(access: Access, caller: Caller) -> Fate {
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
const MEANT: [(&str, &[Role]); 7] = [
    ("GET /metrics", READERS),
    ("GET /v1/hosts", RELYING),
    ("GET /v1/hosts/{host}", RELYING),
    ("GET /v1/hosts/{host}/result", RELYING),
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

fn meant(route: &Route) -> &'static [Role] {
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

struct Callers {
    plain: Client,
    stranger: Client,
    host: Client,
    other_ca: Client,
    /// Of each role: a client with its TLS key, and a token.
    staff: Vec<(Role, Client, String)>,
    expired: String,
    revoked: String,
    key_as_token: String,
    join_secret: String,
}

impl Callers {
    async fn of(world: &World, liar: &Liar) -> Self {
        let operator = world.server.operator();
        let ca = operator["ca"].as_str().unwrap();
        let stranger = touchstone_agent::tls::TlsKey::generate().unwrap();
        let token = std::fs::read_to_string(&world.join_token).unwrap();
        let token: JoinToken = token.parse().unwrap();
        let mut staff = Vec::new();
        for role in Role::ALL {
            let word = role.word();
            let by_key = credential(world, &format!("{word}-key"), role, true);
            let by_token = credential(world, &format!("{word}-token"), role, false);
            staff.push((role, with_pem(ca, &by_key), token_of(&by_token)));
        }
        let revoked = token_of(&credential(world, "gone", Role::Operator, false));
        world.server.command(&["credential", "revoke", "gone"]);
        let listed = world.server.command(&["credential", "list"]);
        let mut listed = listed["credentials"].as_array().unwrap().iter();
        let key = listed.find(|one| one["name"] == "operator-key").unwrap();
        Self {
            plain: touchstone_tests::server::client(&operator),
            stranger: with_key(ca, &stranger),
            host: with_key(ca, &liar.identity.keys.tls),
            other_ca: with_pem(ca, &of_another_ca()),
            staff,
            expired: expired(world).await,
            revoked,
            key_as_token: key["key"].as_str().unwrap().to_owned(),
            join_secret: token.secret.clone(),
        }
    }

    fn of_role(&self, wanted: Role) -> &(Role, Client, String) {
        let mut staff = self.staff.iter();
        staff.find(|(role, ..)| *role == wanted).unwrap()
    }

    fn identity(&self, caller: Caller) -> (&Client, Option<&str>) {
        match caller {
            Caller::Nobody => (&self.plain, None),
            Caller::WrongToken => (&self.plain, Some("0000")),
            Caller::WrongTokenWithKey => (&self.stranger, Some("0000")),
            Caller::Token(role) => (&self.plain, Some(&self.of_role(role).2)),
            Caller::TlsKey(role) => (&self.of_role(role).1, None),
            Caller::Expired => (&self.plain, Some(&self.expired)),
            Caller::Revoked => (&self.plain, Some(&self.revoked)),
            Caller::JoinTokenWithKey => (&self.stranger, Some(&self.join_secret)),
            Caller::JoinTokenWithoutKey => (&self.plain, Some(&self.join_secret)),
            Caller::EnrolledHost => (&self.host, None),
            Caller::OtherCa => (&self.other_ca, None),
            Caller::KeyAsToken => (&self.plain, Some(&self.key_as_token)),
        }
    }
}

/// A credential as `touchstone credential create` writes it.
fn credential(world: &World, name: &str, role: Role, tls: bool) -> Value {
    let path = world.server.folder().join(format!("{name}.json"));
    let out = path.to_str().unwrap();
    let mut arguments = vec![
        "credential",
        "create",
        name,
        "--role",
        role.word(),
        "--out",
        out,
    ];
    arguments.extend(tls.then_some("--tls"));
    world.server.command(&arguments);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn token_of(credential: &Value) -> String {
    credential["token"].as_str().unwrap().to_owned()
}

/// The token of an operator that lived for a second.
async fn expired(world: &World) -> String {
    let body = json!({ "name": "brief", "role": "operator", "lifetime_seconds": 1 });
    let operator = token_of(&world.server.operator());
    let send = |method, path, token: String, body| async move {
        let body: Option<Value> = body;
        world
            .server
            .send(method, path, Some(&token), body.as_ref())
            .await
    };
    let (_, made) = send(Method::POST, "/v1/credentials", operator, Some(body)).await;
    let token = token_of(&made);
    let begun = Instant::now();
    while send(Method::GET, "/v1/keys", token.clone(), None).await.0 == StatusCode::OK {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never ends");
    }
    token
}

/// A client certificate that names an operator, of a CA that nobody knows.
fn of_another_ca() -> Value {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(DnType::CommonName, "touchstone attestor CA");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name.push(DnType::CommonName, "operator");
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    json!({ "certificate": leaf.pem(), "key": key.serialize_pem() })
}

/// A client with that TLS key.
pub(crate) fn with_key(ca: &str, key: &touchstone_agent::tls::TlsKey) -> Client {
    with_pem(
        ca,
        &json!({ "certificate": key.certificate(), "key": key.private_key() }),
    )
}

fn with_pem(ca: &str, credential: &Value) -> Client {
    let part = |name: &str| credential[name].as_str().unwrap().to_owned();
    let identity = format!("{}{}", part("certificate"), part("key"));
    Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(ca.as_bytes()).unwrap())
        .identity(reqwest::Identity::from_pem(identity.as_bytes()).unwrap())
        .build()
        .unwrap()
}

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
async fn an_entry_says_whose_credential_it_was() {
    let (world, _host, _maker) = healthy_host().await;
    let officer = credential(&world, "anna", Role::Officer, true);
    let ca = world.server.operator()["ca"].as_str().unwrap().to_owned();
    let manifests = std::fs::read_to_string(touchstone_tests::world::sample_policy()).unwrap();
    let url = format!("{}/v1/policies", world.server.url);
    let body = json!({ "manifests": manifests });
    let client = with_pem(&ca, &officer);
    let (status, answer) = send(&client, Method::PUT, &url, None, Some(&body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    world.server.command(&["credential", "revoke", "anna"]);
    // Once more changes nothing, and writes nothing.
    world.server.command(&["credential", "revoke", "anna"]);
    let (status, _) = send(&client, Method::PUT, &url, None, Some(&body)).await;
    assert_eq!(
        status,
        StatusCode::UNAUTHORIZED,
        "over a connection that was let in before"
    );

    let entries = world.server.audit_entries();
    let told = entries.iter().map(|entry| {
        let word = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        (word("kind"), word("actor"), word("credential"))
    });
    let told: Vec<_> = told
        .filter(|(kind, ..)| kind.starts_with("credential") || kind == "policy-applied")
        .collect();
    let due = [
        ("credential-created", "attestor", "-"),
        ("policy-applied", "operator", "operator"),
        ("credential-created", "operator", "operator"),
        ("policy-applied", "officer", "anna"),
        ("credential-revoked", "operator", "operator"),
    ];
    let due = due.map(|(kind, actor, name)| (kind.to_owned(), actor.to_owned(), name.to_owned()));
    assert_eq!(told, due);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_revoked_while_the_body_comes_is_none() {
    let (world, _host, _maker) = healthy_host().await;
    let made = credential(&world, "second", Role::Operator, false);
    let operator = world.server.operator();
    let shown = JoinToken {
        server: world.server.url.clone(),
        ca: operator["ca"].as_str().unwrap().to_owned(),
        secret: token_of(&made),
    };
    let key = touchstone_agent::tls::TlsKey::generate().unwrap();
    let late = Slow::join(&shown, &key, "/v1/inventory");
    world.server.command(&["credential", "revoke", "second"]);
    let machine = json!({ "host": "de-9", "ek_digests": ["00".repeat(32)] });
    let answer = late.send(machine.to_string().as_bytes());
    assert!(answer.contains("unauthenticated"), "{answer}");
    let listed = world.server.command(&["inventory", "list"]);
    assert!(!listed.to_string().contains("de-9"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_key_is_nobody_elses() {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let key = liar.identity.keys.tls.digest().unwrap().to_string();
    let allow = [
        "credential",
        "allow",
        "de-1",
        "--role",
        "auditor",
        "--tls-key",
        &key,
    ];
    assert_eq!(world.server.refusal(&allow), "credential-taken");
}

#[test]
fn the_last_operator_cannot_be_locked_out() {
    let server = Server::start(&Database::under_test());
    let path = server.folder().join("second.json");
    let out = path.to_str().unwrap();
    let create = [
        "credential",
        "create",
        "second",
        "--role",
        "operator",
        "--out",
        out,
    ];
    assert_eq!(
        server.refusal(&["credential", "revoke", "operator"]),
        "credential-last-operator"
    );
    server.command(&create);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(server.refusal(&create), "credential-taken");
    assert_eq!(
        server.refusal(&["credential", "revoke", "third"]),
        "credential-unknown"
    );
    server.command(&["credential", "revoke", "operator"]);
    assert_eq!(server.refusal(&["credential", "list"]), "unauthenticated");
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
