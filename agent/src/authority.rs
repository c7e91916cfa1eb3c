//! The attestor's CA certificates, as they come from outside: read within bounds before any is believed.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Most bytes of PEM that are read.
pub(crate) const BUNDLE_MAX: usize = 16 << 10;
/// Most certificates: the current CA, the next one, and room for as many again.
const CERTIFICATES_MAX: usize = 4;

/// What is no bundle of CA certificates.
#[derive(Debug, thiserror::Error)]
#[error(
    "what came in place of the attestor's CA is not one to {CERTIFICATES_MAX} CA certificates in at most \
     {BUNDLE_MAX} bytes of PEM; see what answers for the attestor, or ask for another join token"
)]
pub struct NotABundle;

/// The PEM in `bytes`, where each block is a certificate of a CA.
pub(crate) fn bundle(bytes: &[u8]) -> Result<String, NotABundle> {
    if bytes.len() > BUNDLE_MAX {
        return Err(NotABundle);
    }
    let mut certificates = 0;
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        certificates += 1;
        let certificate = certificate.map_err(|_| NotABundle)?;
        if certificates > CERTIFICATES_MAX || !is_ca(&certificate) {
            return Err(NotABundle);
        }
    }
    match (certificates, String::from_utf8(bytes.to_vec())) {
        (1.., Ok(pem)) => Ok(pem),
        _ => Err(NotABundle),
    }
}

fn is_ca(der: &[u8]) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(rest, certificate)| rest.is_empty() && certificate.is_ca())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn certificate(is_ca: IsCa) -> String {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn one_to_four_cas_are_a_bundle() {
        let ca = || certificate(IsCa::Ca(BasicConstraints::Constrained(0)));
        let four = [ca(), ca(), ca(), ca()].concat();
        assert_eq!(bundle(four.as_bytes()).unwrap(), four);
        assert!(bundle((four + &ca()).as_bytes()).is_err());
        assert!(bundle(ca().as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_ca_or_too_large_is_no_bundle() {
        let ca = certificate(IsCa::Ca(BasicConstraints::Constrained(0)));
        for other in [
            certificate(IsCa::NoCa),
            ca.clone() + &certificate(IsCa::NoCa),
            ca.clone() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "no PEM".to_owned(),
            String::new(),
            ca + &" ".repeat(BUNDLE_MAX),
        ] {
            assert!(bundle(other.as_bytes()).is_err(), "{other}");
        }
    }
}
