//! The roots that an operator imported, and the one way from an EK certificate to a proof.

use x509_parser::pem::Pem;

use super::certificate::{Certificate, CertificateError};
use super::error::EndorsementError;
use super::leaf::check_leaf;
use super::path::{Search, check_authority, check_key, check_signature};
use super::public_key::PublicKey;
use super::tpm_name::ManufacturerId;
use super::{RootClass, VerifiedEndorsement};
use crate::digest::Sha256Digest;

/// Most certificates that a host may offer with its EK certificate.
const MAX_OFFERED: usize = 64;

/// Roots of trust with their classes, and intermediates known beforehand.
#[derive(Clone, Debug, Default)]
pub struct EndorsementRoots {
    anchors: Vec<Anchor>,
    intermediates: Vec<Certificate>,
}

/// One root: a name and a key, what it stands for, and for which manufacturers it may speak.
#[derive(Clone, Debug)]
pub struct Anchor {
    certificate: Certificate,
    class: RootClass,
    manufacturers: Vec<ManufacturerId>,
}

/// What an import added; certificates that were known already are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// New roots.
    pub roots: usize,
    /// New intermediates.
    pub intermediates: usize,
}

/// Why an import was refused as a whole. Certificates count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootImportError {
    /// A PEM block is broken, or is no certificate's.
    #[error("block {0} is no PEM certificate")]
    Pem(usize),
    /// There is no certificate.
    #[error("there is no certificate in it")]
    Empty,
    /// A certificate cannot be parsed.
    #[error("certificate {number} cannot be parsed")]
    Malformed {
        /// Which.
        number: usize,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// A certificate cannot serve as a root.
    #[error("certificate {number} cannot be a root")]
    Unfit {
        /// Which.
        number: usize,
        /// What is wrong with it.
        source: EndorsementError,
    },
    /// The same root is known with another class or other manufacturers: one of the two is wrong.
    #[error("root `{0}` is known already, with another class or other manufacturers")]
    Conflict(String),
}

impl EndorsementRoots {
    /// No roots: every endorsement is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Imports a PEM bundle, text between the blocks ignored. Self-issued certificates become
    /// roots once their own signature verifies, all others intermediates: a bundle cannot make a
    /// root of a certificate that another CA issued ([`EndorsementRoots::add_anchor`] can).
    /// No `manufacturers` means that the roots may vouch for any.
    ///
    /// # Errors
    /// [`RootImportError`]; nothing is imported then.
    pub fn add_pem(
        &mut self,
        pem: &[u8],
        class: RootClass,
        manufacturers: &[ManufacturerId],
    ) -> Result<Imported, RootImportError> {
        let mut next = self.clone();
        let mut imported = Imported::default();
        let mut blocks = 0;
        for (number, block) in (1..).zip(Pem::iter_from_buffer(pem)) {
            blocks = number;
            let block = block
                .ok()
                .filter(|block| block.label == "CERTIFICATE")
                .ok_or(RootImportError::Pem(number))?;
            let certificate = parse(number, &block.contents)?;
            if certificate.is_self_issued() {
                check_signature(&certificate, &certificate)
                    .map_err(|source| RootImportError::Unfit { number, source })?;
                let added = next.insert_anchor(number, certificate, class, manufacturers)?;
                imported.roots = imported.roots.saturating_add(added);
            } else {
                let added = next.insert_intermediate(certificate);
                imported.intermediates = imported.intermediates.saturating_add(added);
            }
        }
        if blocks == 0 {
            return Err(RootImportError::Empty);
        }
        *self = next;
        Ok(imported)
    }

    /// Imports one DER certificate as a root whoever issued it, its signature unchecked: the
    /// operator vouches for it. For vendors' CAs under a root that is not to be trusted as a whole.
    ///
    /// # Errors
    /// [`RootImportError`], but [`RootImportError::Pem`] and [`RootImportError::Empty`].
    pub fn add_anchor(
        &mut self,
        der: &[u8],
        class: RootClass,
        manufacturers: &[ManufacturerId],
    ) -> Result<Imported, RootImportError> {
        let roots = self.insert_anchor(1, parse(1, der)?, class, manufacturers)?;
        Ok(Imported {
            roots,
            intermediates: 0,
        })
    }

    /// Whether there are no roots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// All roots, in the order of their import.
    pub fn anchors(&self) -> impl Iterator<Item = &Anchor> {
        self.anchors.iter()
    }

    /// Verifies that one of these roots vouches for the TPM whose EK this is.
    ///
    /// `ek_certificate_der` may be followed by padding. `intermediates` are what the host offered,
    /// in any order, DER; those imported are used as well. `ek_public_spki` is the EK as the TPM
    /// itself gave it, a DER SubjectPublicKeyInfo with rsaEncryption or id-ecPublicKey; the
    /// certificate must hold the same key. `now` is in Unix seconds.
    ///
    /// # Errors
    /// [`EndorsementError`]. Where several paths fail, that of the most promising one.
    pub fn verify(
        &self,
        ek_certificate_der: &[u8],
        intermediates: &[impl AsRef<[u8]>],
        ek_public_spki: &[u8],
        now: i64,
    ) -> Result<VerifiedEndorsement, EndorsementError> {
        let ek =
            PublicKey::of_canonical(ek_public_spki).ok_or(EndorsementError::EkPublicMalformed)?;
        let leaf = Certificate::parse(ek_certificate_der).map_err(|source| {
            let which = "the EK certificate".to_owned();
            EndorsementError::Malformed { which, source }
        })?;
        let tpm = check_leaf(&leaf, &ek, now)?;

        let offered = self.parse_offered(intermediates)?;
        let intermediates = self.intermediates.iter().chain(&offered);
        let search = Search::new(&self.anchors, intermediates, tpm.manufacturer, now);
        let found = search.run(&leaf)?;
        Ok(VerifiedEndorsement {
            class: found.anchor.class,
            tpm,
            ek_digest: Sha256Digest::of(ek_public_spki),
            certificate_digest: leaf.digest,
            root_key_digest: found.anchor.key_digest(),
            valid_until: found.valid_until,
            path: found.path,
        })
    }

    /// What the host offered, without what is known already: repeating a certificate must not
    /// spend signature checks.
    fn parse_offered(
        &self,
        intermediates: &[impl AsRef<[u8]>],
    ) -> Result<Vec<Certificate>, EndorsementError> {
        if intermediates.len() > MAX_OFFERED {
            return Err(EndorsementError::TooManyIntermediates(intermediates.len()));
        }
        let mut offered: Vec<Certificate> = Vec::new();
        for (number, der) in (1_usize..).zip(intermediates) {
            let certificate = Certificate::parse(der.as_ref()).map_err(|source| {
                let which = format!("intermediate {number}");
                EndorsementError::Malformed { which, source }
            })?;
            let mut known = self.intermediates.iter().chain(&offered);
            if !known.any(|known| known.digest == certificate.digest) {
                offered.push(certificate);
            }
        }
        Ok(offered)
    }

    /// Returns how many roots were added: 0 if it was known, with the same words.
    fn insert_anchor(
        &mut self,
        number: usize,
        certificate: Certificate,
        class: RootClass,
        manufacturers: &[ManufacturerId],
    ) -> Result<usize, RootImportError> {
        check_authority(&certificate)
            .and_then(|()| check_key(&certificate))
            .map_err(|source| RootImportError::Unfit { number, source })?;
        // One authority may come in several certificates, such as a renewed one.
        for known in &self.anchors {
            if !known.certificate.is_same_authority(&certificate) {
                continue;
            }
            if known.class != class || known.manufacturers != manufacturers {
                return Err(RootImportError::Conflict(certificate.subject.to_string()));
            }
            if known.certificate.digest == certificate.digest {
                return Ok(0);
            }
        }
        self.anchors.push(Anchor {
            certificate,
            class,
            manufacturers: manufacturers.to_vec(),
        });
        Ok(1)
    }

    fn insert_intermediate(&mut self, certificate: Certificate) -> usize {
        let mut known = self.intermediates.iter();
        if known.any(|known| known.digest == certificate.digest) {
            return 0;
        }
        self.intermediates.push(certificate);
        1
    }
}

impl Anchor {
    /// The root's name, for people: escaped and cut.
    #[must_use]
    pub fn subject(&self) -> String {
        self.certificate.subject.to_string()
    }

    /// What it vouches for.
    #[must_use]
    pub fn class(&self) -> RootClass {
        self.class
    }

    /// The manufacturers it may vouch for; none means any.
    #[must_use]
    pub fn manufacturers(&self) -> &[ManufacturerId] {
        &self.manufacturers
    }

    /// SHA-256 of the root's DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn key_digest(&self) -> Sha256Digest {
        self.certificate.key_digest
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(super) fn may_vouch_for(&self, manufacturer: ManufacturerId) -> bool {
        self.manufacturers.is_empty() || self.manufacturers.contains(&manufacturer)
    }
}

fn parse(number: usize, der: &[u8]) -> Result<Certificate, RootImportError> {
    Certificate::parse(der).map_err(|source| RootImportError::Malformed { number, source })
}
