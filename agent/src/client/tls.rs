//! The agent's side of TLS: 1.3 only, one pinned CA, the agent's key as client certificate.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};

use super::Error;
use crate::tls::TlsKey;

/// The provider is named here and not installed for the process, which may be somebody else's.
pub(super) fn configuration(ca: &str, key: &TlsKey) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_slice(key.certificate().as_bytes());
    let private_key = PrivateKeyDer::from_pem_slice(key.private_key().as_bytes());
    let (Ok(certificate), Ok(private_key)) = (certificate, private_key) else {
        return Err(Error::Tls(rustls::Error::General(
            "the key or its certificate is not PEM".to_owned(),
        )));
    };
    let mut configuration = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::Tls)?
        .with_root_certificates(roots(ca)?)
        .with_client_auth_cert(vec![certificate], private_key)
        .map_err(Error::Tls)?;
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(configuration)
}

/// At least one certificate, and each of them readable.
fn roots(ca: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|_| Error::Ca)?;
        roots.add(certificate).map_err(|_| Error::Ca)?;
    }
    if roots.is_empty() {
        return Err(Error::Ca);
    }
    Ok(roots)
}
