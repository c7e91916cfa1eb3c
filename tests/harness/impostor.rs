//! Another one in the attestor's place, under a CA that a host believes: it passes on what it is asked, and answers in
//! its own way.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::{fs, thread};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use touchstone_agent::identity::Identity;

use crate::host::Host;
use crate::server::Server;
use crate::slow::{config, connect};

/// What becomes of the answer to a request for this path, if it went well.
type Change = dyn Fn(&str, Value) -> Value + Send + Sync;

/// Comes between a host and its attestor, for as long as the test lives.
pub fn impostor(
    host: &Host,
    server: &Server,
    change: impl Fn(&str, Value) -> Value + Send + Sync + 'static,
) {
    let file = host.settings(server).state.join("identity.json");
    let text = fs::read_to_string(&file).unwrap();
    let identity: Identity = serde_json::from_str(&text).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ca, config) = believed();
    let mut changed: Value = serde_json::from_str(&text).unwrap();
    changed["server"] = format!("https://127.0.0.1:{port}").into();
    changed["ca"] = ca.into();
    fs::write(&file, changed.to_string()).unwrap();
    let change: Arc<Change> = Arc::new(change);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (identity, config, change) = (identity.clone(), config.clone(), change.clone());
            thread::spawn(move || serve(stream, &identity, config, &*change));
        }
    });
}

/// A CA, and what a server of it shows.
pub(crate) fn believed() -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_single_cert(vec![certificate.der().clone()], key);
    (ca.pem(), Arc::new(config.unwrap()))
}

/// Answers until the host goes away.
fn serve(stream: TcpStream, identity: &Identity, config: Arc<ServerConfig>, change: &Change) {
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while let Some((head, body)) = message(&mut stream) {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let (head, mut answer) = forward(identity, &head, &body);
        if head.starts_with("HTTP/1.1 200 ") {
            let changed = change(&path, serde_json::from_slice(&answer).unwrap());
            answer = changed.to_string().into_bytes();
        }
        let status = head.lines().next().unwrap();
        let head = format!(
            "{status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        if stream
            .write_all(&[head.as_bytes(), &answer].concat())
            .is_err()
        {
            return;
        }
    }
}

/// Asks the attestor as the host would: head and body of the answer.
fn forward(identity: &Identity, head: &str, body: &[u8]) -> (String, Vec<u8>) {
    let config = config(&identity.ca, &identity.keys.tls);
    let mut stream = connect(&identity.server, config);
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    message(&mut stream).unwrap()
}

/// A message of HTTP/1.1 that says how long it is.
fn message(stream: &mut impl std::io::Read) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}
