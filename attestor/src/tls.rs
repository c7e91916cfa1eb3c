//! TLS: the attestor's own CA and certificate, and the key that a client showed.
//!
//! Clients are known by their keys, not by a CA: any certificate is let through the handshake, which
//! proves possession of its key, and the key's digest goes to the access rules. Most keys mean nothing.

mod accept;
mod authority;
mod client_keys;

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::version::TLS13;

pub(crate) use accept::{Peer, PeerAcceptor};
pub(crate) use authority::{ServerCertificate, certificate};

use crate::keys::KeyError;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The CA or the certificate could not be made.
    #[error("the TLS certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// The certificate could not be used.
    #[error("the TLS certificate could not be used")]
    Rustls(#[from] rustls::Error),
}

/// TLS 1.3 with the attestor's certificate; asks for a client certificate and goes on without one.
pub(crate) fn server_config(
    folder: &Path,
    names: &[String],
) -> Result<(Arc<ServerConfig>, String), TlsError> {
    let ServerCertificate { chain, key, ca_pem } = certificate(folder, names)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(client_keys::AnyKey::new(&provider)))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), ca_pem))
}
