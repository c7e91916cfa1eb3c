//! Hands the client's key to each request of its connection, which axum-server itself does not, and keeps the
//! number of connections below what the process may have open: whoever comes after that is turned away at once,
//! and nobody who is in has to wait for a file descriptor.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use touchstone_evidence::digest::Sha256Digest;
use tower::Layer as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Files that are not connections: databases, logs, the listener, standard streams.
const OTHER_FILES: u64 = 128;
/// Fewest connections, whatever the limit is.
const CONNECTIONS_MIN: u64 = 64;
/// Most connections: more would only take memory from those that work.
const CONNECTIONS_MAX: u64 = 65_536;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// SHA-256 of the SubjectPublicKeyInfo of the client's certificate, if it showed one.
    pub(crate) key: Option<Sha256Digest>,
    /// Its place among the connections, given back when it and its last request are over.
    _place: Arc<OwnedSemaphorePermit>,
}

/// Accepts TLS and adds a [`Peer`] to the requests.
#[derive(Clone)]
pub(crate) struct PeerAcceptor {
    /// Without delay: an answer is one write, and must not wait for an acknowledgement.
    tls: RustlsAcceptor<NoDelayAcceptor>,
    places: Arc<Semaphore>,
}

impl PeerAcceptor {
    /// Raises this process's limit of open files as far as it may, and leaves some for others.
    pub(crate) fn new(config: RustlsConfig) -> Self {
        let connections = open_files()
            .saturating_sub(OTHER_FILES)
            .clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        tracing::info!("at most {connections} connections at once");
        let tls = RustlsAcceptor::new(config);
        Self {
            tls: tls.acceptor(NoDelayAcceptor::new()),
            places: Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(64))),
        }
    }
}

/// How many files this process may have open from now on.
fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
    .unwrap_or(u64::MAX)
}

impl<S> Accept<TcpStream, S> for PeerAcceptor
where
    S: Send + 'static,
{
    type Stream = TlsStream<TcpStream>;
    type Service = AddExtension<S, Peer>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.tls.clone();
        let place = Arc::clone(&self.places).try_acquire_owned();
        Box::pin(async move {
            let place = Arc::new(place.map_err(|_| io::ErrorKind::ConnectionRefused)?);
            let (stream, service) = acceptor.accept(stream, service).await?;
            let (_, connection) = stream.get_ref();
            let key = connection
                .peer_certificates()
                .and_then(<[CertificateDer<'_>]>::first)
                .and_then(|certificate| spki_digest(certificate));
            let peer = Peer { key, _place: place };
            Ok((stream, Extension(peer).layer(service)))
        })
    }
}

fn spki_digest(certificate: &[u8]) -> Option<Sha256Digest> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(Sha256Digest::of(certificate.public_key().raw))
}
