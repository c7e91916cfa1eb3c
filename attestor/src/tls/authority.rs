//! One CA of the attestor, as two files, and the TLS certificates that it issues.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};
use touchstone_evidence::digest::Sha256Digest;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::TlsError;
use crate::keys::{KeyError, read_private, write_private};

/// Days for which a TLS certificate holds.
pub(crate) const CERTIFICATE_DAYS: i64 = 90;
/// Days for which a CA holds.
const CA_DAYS: i64 = 3650;

/// A CA: its key and its certificate, which agents pin as it was first made.
pub(crate) struct Authority {
    key: KeyPair,
    pem: String,
    name: String,
}

impl Authority {
    /// A new one. Its name has digits of its key: where two CAs are believed, some verifiers go by the name alone.
    pub(crate) fn make() -> Result<Self, TlsError> {
        Self::of(KeyPair::generate()?)
    }

    fn of(key: KeyPair) -> Result<Self, TlsError> {
        let id = Sha256Digest::of(&key.subject_public_key_info()).to_string();
        let name = format!("touchstone attestor CA {}", id.get(..8).unwrap_or_default());
        let pem = parameters(&name).self_signed(&key)?.pem();
        Ok(Self { key, pem, name })
    }

    /// Reads one. A key without a certificate gets one: that first start was cut off.
    pub(crate) fn read(key: &Path, certificate: &Path) -> Result<Self, TlsError> {
        let read = KeyPair::from_pem(&read_private(key)?)?;
        if !certificate.exists() {
            let authority = Self::of(read)?;
            write_private(certificate, authority.pem.as_bytes())?;
            return Ok(authority);
        }
        let pem = std::fs::read_to_string(certificate).map_err(|source| KeyError::File {
            path: certificate.to_owned(),
            source,
        })?;
        let name = name_of(&pem, &read.subject_public_key_info());
        let name = name.ok_or_else(|| TlsError::OtherAuthority(certificate.to_owned()))?;
        Ok(Self {
            key: read,
            pem,
            name,
        })
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Its private key, PEM.
    pub(crate) fn key_pem(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(self.key.serialize_pem())
    }

    /// A fresh certificate for `names` (DNS names and IP addresses), and its key.
    pub(super) fn issue(
        &self,
        names: &[String],
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
        let issuer = Issuer::new(parameters(&self.name), &self.key);
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(names.to_vec())?;
        leaf.distinguished_name
            .push(DnType::CommonName, "touchstone attestor");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        (leaf.not_before, leaf.not_after) = validity(CERTIFICATE_DAYS);
        let leaf = leaf.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok((leaf.der().clone(), key))
    }
}

/// The common name in a certificate, if it is one of this key (SubjectPublicKeyInfo, DER).
fn name_of(pem: &str, key: &[u8]) -> Option<String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    let name = name.as_str().ok()?.to_owned();
    (certificate.public_key().raw == key).then_some(name)
}

fn parameters(name: &str) -> CertificateParams {
    let mut ca = CertificateParams::default();
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, name);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (ca.not_before, ca.not_after) = validity(CA_DAYS);
    ca
}

/// From an hour ago, for hosts whose clock runs behind.
fn validity(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - Duration::hours(1), now + Duration::days(days))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (key, pem) = (folder.path().join("ca.key"), folder.path().join("ca.pem"));
        let (one, other) = (Authority::make().unwrap(), Authority::make().unwrap());
        write_private(&key, one.key_pem().as_bytes()).unwrap();
        write_private(&pem, other.pem().as_bytes()).unwrap();
        let refused = Authority::read(&key, &pem).err().unwrap();
        assert!(matches!(refused, TlsError::OtherAuthority(_)), "{refused}");
        write_private(&pem, one.pem().as_bytes()).unwrap();
        assert_eq!(Authority::read(&key, &pem).unwrap().name, one.name);
    }
}
