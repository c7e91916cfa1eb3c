//! The attestor's CA, made once and kept, and its TLS certificate, made anew at each start.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use super::TlsError;
use crate::keys::{KeyError, read_private, write_private};

/// Days for which a TLS certificate holds. It is made anew at each start.
const CERTIFICATE_DAYS: i64 = 90;
/// Days for which the CA holds.
const CA_DAYS: i64 = 3650;

/// What TLS needs.
pub(crate) struct ServerCertificate {
    /// The certificate and the CA.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// For agents and operators.
    pub(crate) ca_pem: String,
}

/// A fresh certificate for `names` (DNS names and IP addresses) under the CA in `folder`.
pub(crate) fn certificate(folder: &Path, names: &[String]) -> Result<ServerCertificate, TlsError> {
    let key = ca_key(&folder.join("ca.key"))?;
    // The CA's certificate is kept as it was first made: agents pin those bytes.
    let path = folder.join("ca.pem");
    let ca_pem = if path.exists() {
        std::fs::read_to_string(&path).map_err(|source| KeyError::File { path, source })?
    } else {
        let pem = CertifiedIssuer::self_signed(ca_parameters(), &key)?.pem();
        write_private(&path, pem.as_bytes())?;
        pem
    };
    let issuer = rcgen::Issuer::new(ca_parameters(), &key);

    let leaf_key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(names.to_vec())?;
    leaf.distinguished_name
        .push(DnType::CommonName, "touchstone attestor");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (leaf.not_before, leaf.not_after) = validity(CERTIFICATE_DAYS);
    let leaf = leaf.signed_by(&leaf_key, &issuer)?;
    Ok(ServerCertificate {
        chain: vec![leaf.der().clone()],
        key: PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into()),
        ca_pem,
    })
}

fn ca_key(path: &Path) -> Result<KeyPair, TlsError> {
    if !path.exists() {
        write_private(path, KeyPair::generate()?.serialize_pem().as_bytes())?;
    }
    Ok(KeyPair::from_pem(&read_private(path)?)?)
}

fn ca_parameters() -> CertificateParams {
    let mut ca = CertificateParams::default();
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name
        .push(DnType::CommonName, "touchstone attestor CA");
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
