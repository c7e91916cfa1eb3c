//! A registry that has what a test put there: of the OCI distribution-spec only what a client that reads manifests asks.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

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
}

impl Registry {
    /// An empty one, without TLS, on this machine.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let held: Arc<Mutex<Held>> = Arc::default();
        let served = Arc::clone(&held);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&stream, &served.lock().unwrap());
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

    /// Answers nobody any more who does not show this, as in `Authorization`.
    pub fn demand(&self, credential: &str) {
        self.held.lock().unwrap().credential = Some(credential.to_owned());
    }
}

/// One request, one answer.
fn answer(mut stream: &TcpStream, held: &Held) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1));
    let shown = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then_some(value)
    });
    let denied = held.credential.as_deref().filter(|due| shown != Some(due));
    let found = path.and_then(|path| held.manifests.get(path));
    let (status, more, body): (_, _, &[u8]) = match (denied, path, found) {
        (Some(_), ..) => (
            "401 Unauthorized",
            "WWW-Authenticate: Basic realm=\"r\"\r\n".to_owned(),
            b"{}",
        ),
        (_, Some("/v2/"), _) => ("200 OK", String::new(), b"{}"),
        (.., Some((media, body))) => ("200 OK", format!("Content-Type: {media}\r\n"), body),
        _ => ("404 Not Found", String::new(), b"{}"),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
    let _caller_is_gone = stream.write_all(&[head.as_bytes(), body].concat());
}
