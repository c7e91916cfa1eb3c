//! A registry that has what a test put there: of the OCI distribution-spec only what a client that reads manifests asks.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use touchstone_evidence::digest::Sha256Digest;

use crate::impostor::believed;

/// It answers until the test ends.
pub struct Registry {
    address: SocketAddr,
    held: Arc<Mutex<Held>>,
}

/// What is there.
#[derive(Default)]
struct Held {
    /// By path: media type and content.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    /// What `Authorization` must be, if anything.
    credential: Option<String>,
    /// A token that is given for that credential, and demanded in its place.
    token: Option<String>,
    /// Nobody is answered any more.
    silent: bool,
    /// Callers that were not answered.
    unanswered: Vec<TcpStream>,
}

impl Registry {
    /// An empty one, without TLS, on this machine.
    #[must_use]
    pub fn start() -> Self {
        Self::serve(|stream, held, address| {
            // Clients connect ahead, and say nothing for as long as they keep that.
            stream.set_read_timeout(Some(SILENCE)).unwrap();
            let mut held = held.lock().unwrap();
            match held.silent {
                true => held.unanswered.push(stream),
                false => answer(&stream, &held, address),
            }
        })
    }

    /// An empty one with TLS, and the certificate of the CA that vouches for it.
    #[must_use]
    pub fn start_tls() -> (Self, String) {
        let (ca, config) = believed();
        let registry = Self::serve(move |stream, held, address| {
            let (config, held) = (Arc::clone(&config), Arc::clone(held));
            // Who waits for nothing must not keep others waiting.
            std::thread::spawn(move || answer_tls(stream, config, &held, address));
        });
        (registry, ca)
    }

    fn serve(answer: impl Fn(TcpStream, &Arc<Mutex<Held>>, SocketAddr) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let held: Arc<Mutex<Held>> = Arc::default();
        let served = Arc::clone(&held);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &served, address);
            }
        });
        Self { address, held }
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// Puts a manifest there, under a tag or a digest.
    pub fn put(&self, image: &str, tag: &str, media: &str, content: &[u8]) {
        let path = format!("/v2/{image}/manifests/{tag}");
        let manifests = &mut self.held.lock().unwrap().manifests;
        manifests.insert(path, (media.to_owned(), content.to_vec()));
    }

    /// Puts a manifest there under its own digest; the name of the image.
    #[must_use]
    pub fn hold(&self, image: &str, media: &str, content: &[u8]) -> String {
        let digest = format!("sha256:{}", Sha256Digest::of(content));
        self.put(image, &digest, media, content);
        format!("{}/{image}@{digest}", self.name())
    }

    /// Callers that wait for nothing.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.held.lock().unwrap().unanswered.len()
    }

    /// Answers nobody any more who does not show this, as in `Authorization`.
    pub fn demand(&self, credential: &str) {
        self.held.lock().unwrap().credential = Some(credential.to_owned());
    }

    /// Demands a token from now on, which its token service gives for the credential.
    pub fn give_tokens(&self, token: &str) {
        self.held.lock().unwrap().token = Some(token.to_owned());
    }

    /// Takes calls, and answers none of them.
    pub fn fall_silent(&self) {
        self.held.lock().unwrap().silent = true;
    }
}

/// How long a caller may take to say what it wants.
const SILENCE: Duration = Duration::from_millis(300);
/// Where the token service is.
const TOKENS: &str = "/token?scope=repository%3Apayments%3Apull&service=r";

fn answer_tls(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    held: &Mutex<Held>,
    address: SocketAddr,
) {
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    answer(&mut stream, &held.lock().unwrap(), address);
    stream.conn.send_close_notify();
    let _caller_is_gone = stream.flush();
}

/// One request, one answer.
fn answer(mut stream: impl Read + Write, held: &Held, address: SocketAddr) {
    let lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1));
    let shown = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then_some(value)
    });
    let credential = held.credential.as_deref();
    let bearer = held.token.as_ref().map(|token| format!("Bearer {token}"));
    let at_tokens = path == Some(TOKENS);
    let due = match bearer.as_deref() {
        Some(bearer) if !at_tokens => Some(bearer),
        _ => credential,
    };
    let challenge = match due {
        Some(due) if due.starts_with("Bearer ") => {
            format!("Bearer realm=\"http://{address}/token\",service=\"r\"")
        }
        _ => "Basic realm=\"r\"".to_owned(),
    };
    let token = format!(
        "{{\"token\":\"{}\"}}",
        held.token.as_deref().unwrap_or_default()
    );
    let found = path.and_then(|path| held.manifests.get(path));
    let (status, more, body): (_, _, &[u8]) = match (path, found) {
        _ if due.is_some() && shown != due => (
            "401 Unauthorized",
            format!("WWW-Authenticate: {challenge}\r\n"),
            b"{}",
        ),
        _ if at_tokens => ("200 OK", String::new(), token.as_bytes()),
        (Some("/v2/"), _) => ("200 OK", String::new(), b"{}"),
        (_, Some((media, body))) => ("200 OK", described(media, body), body),
        _ => ("404 Not Found", String::new(), b"{}"),
    };
    let length = body.len();
    let asked_for_head = head.first().is_some_and(|line| line.starts_with("HEAD "));
    let body = if asked_for_head { b"" } else { body };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
    let _caller_is_gone = stream.write_all(&[head.as_bytes(), body].concat());
}

/// What a registry says of a manifest before it.
fn described(media: &str, manifest: &[u8]) -> String {
    let digest = Sha256Digest::of(manifest);
    format!("Content-Type: {media}\r\nDocker-Content-Digest: sha256:{digest}\r\n")
}
