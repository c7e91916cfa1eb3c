//! TLS: the attestor's own CA and certificate, and the key that a client showed.
//!
//! Clients are known by their keys, not by a CA: any certificate is let through the handshake, which
//! proves possession of its key, and the key's digest goes to the access rules. Most keys mean nothing.

mod accept;
mod authority;
mod client_keys;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::version::TLS13;

pub(crate) use accept::{Peer, PeerAcceptor};
pub(crate) use authority::{Authority, CERTIFICATE_DAYS};

use crate::keys::KeyError;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A CA's certificate is not of the key beside it.
    #[error(
        "`{0}` is not the certificate of the CA key beside it; restore the files that belong together, or copy both \
         from the attestor on which the CA was exchanged"
    )]
    OtherAuthority(PathBuf),
    /// The CA or the certificate could not be made.
    #[error("the TLS certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// The certificate could not be used.
    #[error("the TLS certificate could not be used")]
    Rustls(#[from] rustls::Error),
}

/// TLS 1.3 with a new certificate of `authority`; asks for a client certificate and goes on without one.
pub(crate) fn server_config(
    authority: &Authority,
    names: &[String],
) -> Result<Arc<ServerConfig>, TlsError> {
    let (certificate, key) = authority.issue(names)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(client_keys::AnyKey::new(&provider)))
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
