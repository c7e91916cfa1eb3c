//! The roots that an operator imported, and the one way from an EK certificate to a proof.

use super::bundle::Bundle;
use super::certificate::{Certificate, CertificateError};
use super::crl::{KnownList, ListFault, RevocationList, RevocationListError};
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
    /// One for each authority at most.
    lists: Vec<KnownList>,
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
    /// New revocation lists.
    pub lists: usize,
}

/// A certificate that is known, as people look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCertificate {
    /// Its subject: escaped and cut.
    pub subject: String,
    /// Its issuer, likewise.
    pub issuer: String,
    /// SHA-256 of the certificate: the fingerprint that other tools show.
    pub digest: Sha256Digest,
    /// SHA-256 of its DER SubjectPublicKeyInfo.
    pub key_digest: Sha256Digest,
    /// Unix seconds, inclusive.
    pub not_before: i64,
    /// Unix seconds, inclusive; `None` if it never expires.
    pub not_after: Option<i64>,
}

/// A revocation list that was added, and what it replaced.
#[derive(Clone, Debug)]
pub struct AddedList {
    /// The list.
    pub list: KnownList,
    /// The digest of the same authority's older list.
    pub replaced: Option<Sha256Digest>,
}

/// Why an import was refused as a whole. Certificates count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootImportError {
    /// A PEM block is broken, or neither a certificate nor a revocation list.
    #[error("block {0} is no PEM certificate or revocation list")]
    Pem(usize),
    /// There is nothing in it.
    #[error("there is no certificate and no revocation list in it")]
    Empty,
    /// More blocks than any vendor's bundle has.
    #[error("there are more than {0} certificates and lists in it: import them in parts")]
    TooMany(usize),
    /// A certificate cannot be parsed.
    #[error("certificate {number} cannot be parsed")]
    Malformed {
        /// Which.
        number: usize,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// A certificate is no CA's.
    #[error(
        "certificate {number}, `{subject}`, is no CA's: import the CA that issued it; an EK certificate goes to \
         `touchstone inventory add --ek-certificate`"
    )]
    NotCa {
        /// Which.
        number: usize,
        /// Whose it is.
        subject: String,
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
    /// A revocation list cannot be parsed, or is one that cannot be used.
    #[error("block {number} is no revocation list that can be used: {source}")]
    List {
        /// Which.
        number: usize,
        /// What is wrong with it.
        source: RevocationListError,
    },
    /// No certificate of the list's authority is known.
    #[error(
        "the revocation list in block {number} is by `{issuer}`, of which no certificate is known: import that first"
    )]
    ListIssuerUnknown {
        /// Which.
        number: usize,
        /// Who it says signed it.
        issuer: String,
    },
    /// The authority did not sign the list, or may not sign lists.
    #[error("the revocation list in block {number} is not by `{issuer}`: {reason}")]
    ListNotSigned {
        /// Which.
        number: usize,
        /// Who it says signed it.
        issuer: String,
        /// Why.
        reason: String,
    },
    /// A newer list of the same authority is known: an older one would take revocations back.
    #[error(
        "the revocation list of `{issuer}` in block {number} is not newer than the one that is known"
    )]
    ListNotNewer {
        /// Which.
        number: usize,
        /// Its authority.
        issuer: String,
    },
}

impl RootImportError {
    /// A name for this refusal that does not change between releases.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotCa { .. } => "endorsement-not-a-ca",
            Self::List { .. } => "crl-malformed",
            Self::ListIssuerUnknown { .. } => "crl-issuer-unknown",
            Self::ListNotSigned { .. } => "crl-signature-invalid",
            Self::ListNotNewer { .. } => "crl-not-newer",
            Self::Pem(_)
            | Self::Empty
            | Self::TooMany(_)
            | Self::Malformed { .. }
            | Self::Unfit { .. }
            | Self::Conflict(_) => "endorsement-import-failed",
        }
    }
}

impl EndorsementRoots {
    /// No roots: every endorsement is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Imports a PEM bundle, text between the blocks ignored: [`EndorsementRoots::add_certificates`],
    /// then [`EndorsementRoots::add_lists`].
    ///
    /// # Errors
    /// [`RootImportError`]; nothing is imported then.
    pub fn add_pem(
        &mut self,
        pem: &[u8],
        class: RootClass,
        manufacturers: &[ManufacturerId],
    ) -> Result<Imported, RootImportError> {
        let bundle = Bundle::from_pem(pem)?;
        let mut next = self.clone();
        let mut imported = next.add_certificates(&bundle, class, manufacturers)?;
        imported.lists = next.add_lists(&bundle)?.len();
        *self = next;
        Ok(imported)
    }

    /// Imports the certificates of a bundle. Self-issued ones become roots once their own signature
    /// verifies, all others intermediates: a bundle cannot make a root of a certificate that another
    /// CA issued ([`EndorsementRoots::add_anchor`] can). No `manufacturers` means that the roots may
    /// vouch for any.
    ///
    /// # Errors
    /// [`RootImportError`]; nothing is imported then.
    pub fn add_certificates(
        &mut self,
        bundle: &Bundle,
        class: RootClass,
        manufacturers: &[ManufacturerId],
    ) -> Result<Imported, RootImportError> {
        let mut next = self.clone();
        let mut imported = Imported::default();
        for (number, der) in &bundle.certificates {
            let (number, certificate) = (*number, parse(*number, der)?);
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
        *self = next;
        Ok(imported)
    }

    /// Imports the revocation lists of a bundle, each signed by an authority whose certificate is
    /// known, and newer than the one known of that authority; returns those that were not known.
    /// Whether they are of this time is not asked: [`EndorsementRoots::verify`] does.
    ///
    /// # Errors
    /// [`RootImportError`]; nothing is imported then.
    pub fn add_lists(&mut self, bundle: &Bundle) -> Result<Vec<AddedList>, RootImportError> {
        let mut next = self.clone();
        let mut added = Vec::new();
        for (number, der) in &bundle.lists {
            added.extend(next.insert_list(*number, der)?);
        }
        *self = next;
        Ok(added)
    }

    /// One revocation list, DER. `None`: it was known.
    ///
    /// # Errors
    /// As [`EndorsementRoots::add_lists`].
    pub fn add_list(&mut self, der: &[u8]) -> Result<Option<AddedList>, RootImportError> {
        self.insert_list(1, der)
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
            ..Imported::default()
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

    /// All intermediates, in the order of their import.
    pub fn intermediates(&self) -> impl Iterator<Item = KnownCertificate> {
        self.intermediates.iter().map(KnownCertificate::of)
    }

    /// All revocation lists.
    pub fn lists(&self) -> impl Iterator<Item = &KnownList> {
        self.lists.iter()
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
        let search = Search::new(
            &self.anchors,
            intermediates,
            &self.lists,
            tpm.manufacturer,
            now,
        );
        let found = search.run(&leaf)?;
        Ok(VerifiedEndorsement {
            class: found.anchor.class,
            tpm,
            ek_digest: Sha256Digest::of(ek_public_spki),
            certificate_digest: leaf.digest,
            certificate_subject: leaf.subject.to_string(),
            certificate_serial: leaf.serial.clone(),
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

    fn insert_list(
        &mut self,
        number: usize,
        der: &[u8],
    ) -> Result<Option<AddedList>, RootImportError> {
        let list = RevocationList::parse(der)
            .map_err(|source| RootImportError::List { number, source })?;
        let list = self.signed_list(number, &list)?;
        let known = self.lists.iter().position(|known| known.is_by_same(&list));
        let Some(known) = known else {
            self.lists.push(list.clone());
            return Ok(Some(AddedList {
                list,
                replaced: None,
            }));
        };
        let Some(slot) = self.lists.get_mut(known) else {
            return Ok(None);
        };
        if slot.digest() == list.digest() {
            return Ok(None);
        }
        if !list.supersedes(slot) {
            return Err(RootImportError::ListNotNewer {
                number,
                issuer: list.issuer(),
            });
        }
        let replaced = Some(slot.digest());
        *slot = list.clone();
        Ok(Some(AddedList { list, replaced }))
    }

    /// The list, once the key of one of the certificates that may be its authority's verified it.
    fn signed_list(
        &self,
        number: usize,
        list: &RevocationList,
    ) -> Result<KnownList, RootImportError> {
        let anchors = self.anchors.iter().map(Anchor::certificate);
        let candidates = anchors.chain(&self.intermediates);
        let mut fault = None;
        for authority in candidates.filter(|authority| list.may_be_by(authority)) {
            match list.verify(authority) {
                Ok(known) => return Ok(known),
                Err(reason) => fault = Some(reason),
            }
        }
        let issuer = list.issuer();
        let reason = match fault {
            None => return Err(RootImportError::ListIssuerUnknown { number, issuer }),
            Some(ListFault::MayNotSign) => "it may not sign lists".to_owned(),
            Some(ListFault::Sha1) => "it is signed with SHA-1".to_owned(),
            Some(ListFault::Algorithm(oid)) => format!("the algorithm {oid} is not known"),
            Some(ListFault::Forged) => "the signature does not verify".to_owned(),
        };
        Err(RootImportError::ListNotSigned {
            number,
            issuer,
            reason,
        })
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

impl KnownCertificate {
    fn of(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject.to_string(),
            issuer: certificate.issuer.to_string(),
            digest: certificate.digest,
            key_digest: certificate.key_digest,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        }
    }
}

impl Anchor {
    /// The certificate that it came in.
    #[must_use]
    pub fn known(&self) -> KnownCertificate {
        KnownCertificate::of(&self.certificate)
    }

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
