//! The control plane's CA, the certificates that it issues, and the key that signs service accounts' tokens.
//!
//! Who somebody is stands in a client certificate, as the API server reads it: the common name is the user, the
//! organization its group.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};

use super::{Error, Result};

/// The CA, and the folder of its files, which nobody else may enter.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// Files of a certificate and of its key, PEM.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// SubjectPublicKeyInfo, DER.
    pub(super) public_key: Vec<u8>,
}

impl Authority {
    /// Makes one, and its file `ca.pem`.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let mut parameters = named("control plane CA", None);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = Self {
            issuer: CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?,
            folder: folder.to_owned(),
        };
        write(&authority.file(), &authority.pem())?;
        Ok(authority)
    }

    /// Its certificate, PEM.
    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The file of its certificate.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for a server on this machine.
    pub(super) fn server(&self) -> Result<Pair> {
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let mut parameters = CertificateParams::new(names)?;
        parameters.distinguished_name = subject("kube-apiserver", None);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue("kube-apiserver", parameters)
    }

    /// A certificate for a user. Files of one user are written over.
    pub(super) fn client(&self, user: &str, group: Option<&str>) -> Result<Pair> {
        let mut parameters = named(user, group);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&user.replace([':', '/'], "-"), parameters)
    }

    fn issue(&self, name: &str, parameters: CertificateParams) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate: Certificate = parameters.signed_by(&key, &self.issuer)?;
        let pair = Pair {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
            public_key: key.subject_public_key_info(),
        };
        write(&pair.certificate, &certificate.pem())?;
        write(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }
}

/// Files of the key that signs service accounts' tokens, and of its public half, PEM.
pub(super) struct ServiceAccounts {
    pub(super) key: PathBuf,
    pub(super) public_key: PathBuf,
}

impl ServiceAccounts {
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let files = Self {
            key: folder.join("service-accounts.key"),
            public_key: folder.join("service-accounts.pub"),
        };
        write(&files.key, &key.serialize_pem())?;
        write(&files.public_key, &key.public_key_pem())?;
        Ok(files)
    }
}

fn named(user: &str, group: Option<&str>) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject(user, group);
    parameters
}

fn subject(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, user);
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject
}

fn write(path: &Path, pem: &str) -> Result<()> {
    fs::write(path, pem).map_err(Error::file(path))
}
