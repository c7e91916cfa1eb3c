//! The agent's TLS key: P-256, in a self-signed certificate that says nothing but the key.
//!
//! The attestor knows a host by this key, and every quote is bound to it.

use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _};
use serde::{Deserialize, Serialize};
use touchstone_evidence::digest::Sha256Digest;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Why there is no TLS key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system would not make one.
    #[error("cannot make a TLS key; see that this host has a source of randomness")]
    Generate(#[source] rcgen::Error),

    /// The text is no key.
    #[error("the kept TLS key is damaged; enrol again with `touchstone-agent enrol --again`")]
    Damaged(#[source] rcgen::Error),
}

/// A private key and its certificate, both PEM.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct TlsKey {
    private_key: String,
    certificate: String,
}

impl TlsKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Generate`].
    pub fn generate() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(Error::Generate)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "touchstone-agent");
        let certificate = params.self_signed(&key).map_err(Error::Generate)?;
        Ok(Self {
            private_key: key.serialize_pem(),
            certificate: certificate.pem(),
        })
    }

    /// PKCS #8, PEM.
    #[must_use]
    pub fn private_key(&self) -> &str {
        &self.private_key
    }

    /// The certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// SHA-256 of the DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn digest(&self) -> Result<Sha256Digest, Error> {
        let key = KeyPair::from_pem(&self.private_key).map_err(Error::Damaged)?;
        Ok(Sha256Digest::of(&key.subject_public_key_info()))
    }
}

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("TLS key")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    #[test]
    fn the_digest_is_that_of_the_key_in_the_certificate() {
        let key = TlsKey::generate().unwrap();
        let der = CertificateDer::from_pem_slice(key.certificate().as_bytes()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(
            key.digest().unwrap(),
            Sha256Digest::of(certificate.public_key().raw)
        );
        assert_ne!(
            key.digest().unwrap(),
            TlsKey::generate().unwrap().digest().unwrap()
        );
    }

    #[test]
    fn it_comes_back_from_json_and_debug_hides_it() {
        let key = TlsKey::generate().unwrap();
        let back: TlsKey = serde_json::from_str(&serde_json::to_string(&key).unwrap()).unwrap();
        assert_eq!(back.digest().unwrap(), key.digest().unwrap());
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }
}
