//! Why TLS did not believe what answered: the cause, out of the layers that wrap it.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use touchstone_evidence::digest::Sha256Digest;

/// What is wrong with the certificate that was shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Disbelief {
    /// It is of no CA that is pinned.
    OtherCa,
    /// It is of the pinned CA, and something else is wrong with it: its time, or its name.
    Certificate(CertificateError),
}

/// Looks for it in `error` and its sources.
pub(super) fn cause(error: &(dyn StdError + 'static)) -> Option<Disbelief> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(rustls::Error::InvalidCertificate(wrong)) = error.downcast_ref() {
            return Some(sorted(wrong));
        }
        // What an I/O error wraps is not its source, but that one's.
        link = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn sorted(wrong: &CertificateError) -> Disbelief {
    match wrong {
        // A CA of the same name with another key, as every attestor's is, shows as a bad signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Disbelief::OtherCa,
        wrong => Disbelief::Certificate(wrong.clone()),
    }
}

/// SHA-256 of each certificate in `ca` (PEM), over its DER.
pub(super) fn fingerprints(ca: &str) -> String {
    let digests: Vec<String> = CertificateDer::pem_slice_iter(ca.as_bytes())
        .filter_map(Result::ok)
        .map(|der| Sha256Digest::of(&der).to_string())
        .collect();
    digests.join(", ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use crate::tls::TlsKey;

    #[test]
    fn it_is_found_within_what_wraps_it() {
        let wrapped = |wrong| {
            let tls = rustls::Error::InvalidCertificate(wrong);
            cause(&io::Error::other(io::Error::other(tls)))
        };
        assert_eq!(
            wrapped(CertificateError::UnknownIssuer),
            Some(Disbelief::OtherCa)
        );
        assert_eq!(
            wrapped(CertificateError::Expired),
            Some(Disbelief::Certificate(CertificateError::Expired))
        );
        assert_eq!(cause(&io::Error::other("else")), None);
    }

    #[test]
    fn a_fingerprint_is_that_of_the_certificate() {
        let key = TlsKey::generate().unwrap();
        let der = CertificateDer::from_pem_slice(key.certificate().as_bytes()).unwrap();
        assert_eq!(
            fingerprints(key.certificate()),
            Sha256Digest::of(&der).to_string()
        );
    }
}
