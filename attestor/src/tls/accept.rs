//! Hands the client's key to each request of its connection: axum-server itself does not.

use std::future::Future;
use std::io;
use std::pin::Pin;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsAcceptor;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use touchstone_evidence::digest::Sha256Digest;
use tower::Layer as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// SHA-256 of the SubjectPublicKeyInfo of the client's certificate, if it showed one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerKey(pub(crate) Option<Sha256Digest>);

/// Accepts TLS and adds a [`PeerKey`] to the requests.
#[derive(Clone)]
pub(crate) struct PeerKeyAcceptor(pub(crate) RustlsAcceptor);

impl<I, S> Accept<I, S> for PeerKeyAcceptor
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Send + 'static,
{
    type Stream = TlsStream<I>;
    type Service = AddExtension<S, PeerKey>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let acceptor = self.0.clone();
        Box::pin(async move {
            let (stream, service) = acceptor.accept(stream, service).await?;
            let (_, connection) = stream.get_ref();
            let key = connection
                .peer_certificates()
                .and_then(<[CertificateDer<'_>]>::first)
                .and_then(|certificate| spki_digest(certificate));
            Ok((stream, Extension(PeerKey(key)).layer(service)))
        })
    }
}

fn spki_digest(certificate: &[u8]) -> Option<Sha256Digest> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(Sha256Digest::of(certificate.public_key().raw))
}
