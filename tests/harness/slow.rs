//! A host's request whose body comes long after its head.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use touchstone_agent::identity::Identity;
use touchstone_agent::tls::TlsKey;
use touchstone_evidence::wire::JoinToken;

/// A request that was let in, and of whose body nothing was sent yet.
pub struct Slow(StreamOwned<ClientConnection, TcpStream>);

impl Slow {
    /// A request of an enrolled host. Returns once the attestor asks for the body (RFC 9110 §10.1.1).
    #[must_use]
    pub fn post(identity: &Identity, path: &str) -> Self {
        let Identity {
            server, ca, keys, ..
        } = identity;
        Self::begin(server, config(ca, &keys.tls), path, "").unwrap()
    }

    /// The same; an error is the head of an answer that did not wait for the body.
    ///
    /// # Errors
    /// The head.
    pub fn try_post(identity: &Identity, path: &str) -> Result<Self, String> {
        let Identity {
            server, ca, keys, ..
        } = identity;
        Self::begin(server, config(ca, &keys.tls), path, "")
    }

    /// A connection over which nothing is said but `first`.
    #[must_use]
    pub fn silent(identity: &Identity, first: &[u8]) -> Self {
        let config = config(&identity.ca, &identity.keys.tls);
        let mut stream = connect(&identity.server, config);
        stream.write_all(first).unwrap();
        stream.flush().unwrap();
        Self(stream)
    }

    /// The same of a machine that is to be enrolled with `key`.
    #[must_use]
    pub fn join(token: &JoinToken, key: &TlsKey, path: &str) -> Self {
        let bearer = format!("Authorization: Bearer {}\r\n", token.secret.as_str());
        Self::begin(&token.server, config(&token.ca, key), path, &bearer).unwrap()
    }

    fn begin(
        server: &str,
        config: Arc<ClientConfig>,
        path: &str,
        headers: &str,
    ) -> Result<Self, String> {
        let address = server.trim_start_matches("https://");
        let mut stream = connect(server, config);
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        match said.starts_with(b"HTTP/1.1 100 ") {
            true => Ok(Self(stream)),
            false => Err(String::from_utf8(said).unwrap()),
        }
    }

    /// Sends the body: the whole answer.
    #[must_use]
    pub fn send(mut self, body: &[u8]) -> String {
        let mut rest = format!("{:x}\r\n", body.len()).into_bytes();
        rest.extend_from_slice(body);
        rest.extend(b"\r\n0\r\n\r\n");
        self.0.write_all(&rest).unwrap();
        self.answer()
    }

    /// Sends nothing more: the whole answer.
    #[must_use]
    pub fn answer(mut self) -> String {
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        answer
    }
}

pub(crate) fn connect(
    server: &str,
    config: Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let tcp = TcpStream::connect(server.trim_start_matches("https://")).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), tcp)
}

pub(crate) fn config(ca: &str, key: &TlsKey) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(key.certificate().as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.private_key().as_bytes()).unwrap(),
        );
    Arc::new(config.unwrap())
}
