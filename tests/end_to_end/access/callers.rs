//! Whoever may come to a route, and what each shows.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use touchstone_attestor::role::Role;
use touchstone_evidence::wire::JoinToken;
use touchstone_tests::liar::Liar;
use touchstone_tests::world::World;

/// Whoever may come to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
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

/// All of them.
pub(super) fn callers() -> Vec<Caller> {
    use Caller::*;
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

/// What each of them shows.
pub(super) struct Callers {
    pub(super) plain: Client,
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
    pub(super) async fn of(world: &World, liar: &Liar) -> Self {
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

    pub(super) fn of_role(&self, wanted: Role) -> &(Role, Client, String) {
        let mut staff = self.staff.iter();
        staff.find(|(role, ..)| *role == wanted).unwrap()
    }

    pub(super) fn identity(&self, caller: Caller) -> (&Client, Option<&str>) {
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
pub(super) fn credential(world: &World, name: &str, role: Role, tls: bool) -> Value {
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

pub(super) fn token_of(credential: &Value) -> String {
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

pub(super) fn with_pem(ca: &str, credential: &Value) -> Client {
    let part = |name: &str| credential[name].as_str().unwrap().to_owned();
    let identity = format!("{}{}", part("certificate"), part("key"));
    Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(ca.as_bytes()).unwrap())
        .identity(reqwest::Identity::from_pem(identity.as_bytes()).unwrap())
        .build()
        .unwrap()
}
