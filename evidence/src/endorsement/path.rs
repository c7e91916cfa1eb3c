//! The search for a path from an EK certificate up to a root: depth first, best candidate first.
//!
//! Invariant: it ends, whatever certificates strangers offer: at most [`MAX_ISSUERS`] deep,
//! [`MAX_SIGNATURES`] signatures in all, and a step up only over a signature that verified.

use super::PathCertificate;
use super::certificate::Certificate;
use super::crl::{KnownList, Standing};
use super::error::EndorsementError;
use super::public_key::{KeyFault, SignatureFault};
use super::roots::Anchor;
use super::tpm_name::ManufacturerId;

/// Most certificates above the EK certificate, the root included. The longest real chain is that of
/// Intel's on-die CA: PTT, kernel, ROM, platform, CSME intermediate, root.
const MAX_ISSUERS: usize = 6;

/// Most signature checks in one search: a real chain needs [`MAX_ISSUERS`], and a few more where
/// vendors certified one name several times.
const MAX_SIGNATURES: u32 = 16;

/// What a search needs to know.
pub(super) struct Search<'a> {
    anchors: &'a [Anchor],
    /// Certificates that may stand between: those imported, and those offered with the EK.
    intermediates: Vec<&'a Certificate>,
    lists: &'a [KnownList],
    manufacturer: ManufacturerId,
    now: i64,
    signatures_left: u32,
}

/// Where a search arrived.
pub(super) struct Found<'a> {
    pub(super) anchor: &'a Anchor,
    /// The earliest end of validity among all certificates of the path.
    pub(super) valid_until: Option<i64>,
    /// From the leaf to the root.
    pub(super) path: Vec<PathCertificate>,
}

/// A certificate that may have issued another one, and the root that it is, if it is one.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    certificate: &'a Certificate,
    anchor: Option<&'a Anchor>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        anchors: &'a [Anchor],
        intermediates: impl Iterator<Item = &'a Certificate>,
        lists: &'a [KnownList],
        manufacturer: ManufacturerId,
        now: i64,
    ) -> Self {
        Self {
            anchors,
            intermediates: intermediates.collect(),
            lists,
            manufacturer,
            now,
            signatures_left: MAX_SIGNATURES,
        }
    }

    /// Finds a path from `leaf`, which the caller has checked by itself, to a root.
    ///
    /// # Errors
    /// That of the most promising branch: a reason found higher up beats one found lower down.
    pub(super) fn run(mut self, leaf: &'a Certificate) -> Result<Found<'a>, EndorsementError> {
        self.extend(&mut vec![leaf])
    }

    fn extend(&mut self, path: &mut Vec<&'a Certificate>) -> Result<Found<'a>, EndorsementError> {
        let Some(current) = path.last().copied() else {
            return Err(EndorsementError::TooDeep(MAX_ISSUERS));
        };
        // `path` holds the leaf as well.
        if path.len() > MAX_ISSUERS {
            return Err(EndorsementError::TooDeep(MAX_ISSUERS));
        }
        let mut refusal = None;
        let mut loops = false;
        for candidate in self.candidates(current) {
            let issuer = candidate.certificate;
            if path.iter().any(|below| below.is_same_authority(issuer)) {
                loops = true;
                continue;
            }
            if let Err(reason) = self.check(candidate, path) {
                if matches!(reason, EndorsementError::TooCostly(_)) {
                    return Err(reason);
                }
                refusal.get_or_insert(reason);
                continue;
            }
            path.push(issuer);
            if let Some(anchor) = candidate.anchor {
                let valid_until = path.iter().filter_map(|one| one.not_after).min();
                return Ok(Found {
                    anchor,
                    valid_until,
                    path: path.iter().map(|one| one.summary()).collect(),
                });
            }
            match self.extend(path) {
                Err(EndorsementError::TooCostly(checks)) => {
                    return Err(EndorsementError::TooCostly(checks));
                }
                Err(reason) => refusal = Some(reason),
                found => return found,
            }
            path.pop();
        }
        // Below a namesake root, what matters is that this one is no root.
        let namesake = |reason: &EndorsementError| {
            current.is_self_issued() && matches!(reason, EndorsementError::BadSignature { .. })
        };
        Err(refusal
            .filter(|reason| !namesake(reason))
            .unwrap_or_else(|| dead_end(current, loops)))
    }

    /// Who may have issued `child`, roots first among equals: by name and key identifier, then by
    /// name alone (vendors err in key identifiers), then by key identifier alone (and in names).
    fn candidates(&self, child: &Certificate) -> Vec<Candidate<'a>> {
        let anchors = self.anchors.iter().map(|anchor| Candidate {
            certificate: anchor.certificate(),
            anchor: Some(anchor),
        });
        let intermediates = self.intermediates.iter().map(|certificate| Candidate {
            certificate,
            anchor: None,
        });
        let mut ranked: Vec<(u8, Candidate<'a>)> = anchors
            .chain(intermediates)
            .filter_map(|candidate| Some((rank(child, candidate.certificate)?, candidate)))
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// Everything that the issuer of the path's last certificate must satisfy; its signature last,
    /// because that is what costs.
    fn check(
        &mut self,
        candidate: Candidate<'a>,
        path: &[&Certificate],
    ) -> Result<(), EndorsementError> {
        let issuer = candidate.certificate;
        check_validity(issuer, self.now)?;
        check_authority(issuer)?;
        check_path_length(issuer, path)?;
        if let Some(anchor) = candidate.anchor
            && !anchor.may_vouch_for(self.manufacturer)
        {
            return Err(EndorsementError::NotVouched {
                root: issuer.subject.to_string(),
                manufacturer: self.manufacturer,
            });
        }
        let Some(child) = path.last() else {
            return Ok(());
        };
        self.signatures_left = self
            .signatures_left
            .checked_sub(1)
            .ok_or(EndorsementError::TooCostly(MAX_SIGNATURES))?;
        check_signature(child, issuer)?;
        self.check_revocation(child, issuer, path.len() == 1)
    }

    /// What the issuer's imported list says of `child`. Without a list nothing is known, and the
    /// certificate passes: whether to import lists is the operator's choice. A list that is not of
    /// this time refuses, since the revocation in question may stand in the next one.
    fn check_revocation(
        &self,
        child: &Certificate,
        issuer: &Certificate,
        is_leaf: bool,
    ) -> Result<(), EndorsementError> {
        let Some(list) = self.lists.iter().find(|list| list.is_by(issuer)) else {
            return Ok(());
        };
        let issuer = issuer.subject.to_string();
        match list.standing(&child.serial, self.now) {
            Standing::NotListed => Ok(()),
            Standing::Listed if is_leaf => Err(EndorsementError::Revoked { issuer }),
            Standing::Listed => Err(EndorsementError::IssuerRevoked {
                subject: child.subject.to_string(),
                issuer,
            }),
            Standing::Stale(next_update) => Err(EndorsementError::StaleList {
                issuer,
                next_update,
            }),
        }
    }
}

/// Lower is better; `None` where neither name nor key identifier points to this issuer.
fn rank(child: &Certificate, issuer: &Certificate) -> Option<u8> {
    let by_name = child.issuer.matches(&issuer.subject);
    let wanted = child.extensions.authority_key_id.as_ref();
    let by_key = wanted.map(|id| issuer.extensions.subject_key_id.as_ref() == Some(id));
    match (by_name, by_key) {
        (true, Some(true)) => Some(0),
        (true, None) => Some(1),
        (true, Some(false)) => Some(2),
        (false, Some(true)) => Some(3),
        (false, _) => None,
    }
}

/// The reason when nobody remains to be asked.
fn dead_end(current: &Certificate, loops: bool) -> EndorsementError {
    let subject = current.subject.to_string();
    if current.is_self_issued() {
        EndorsementError::UnknownRoot { subject }
    } else if loops {
        EndorsementError::Loop { subject }
    } else {
        EndorsementError::IssuerMissing {
            subject,
            issuer: current.issuer.to_string(),
        }
    }
}

/// Validity and critical extensions: what holds for every certificate of a path.
pub(super) fn check_validity(certificate: &Certificate, now: i64) -> Result<(), EndorsementError> {
    let subject = || certificate.subject.to_string();
    if let Some(oid) = &certificate.extensions.unknown_critical {
        return Err(EndorsementError::UnknownCriticalExtension {
            subject: subject(),
            oid: oid.clone(),
        });
    }
    if now < certificate.not_before {
        return Err(EndorsementError::NotYetValid {
            subject: subject(),
            not_before: certificate.not_before,
        });
    }
    match certificate.not_after {
        Some(not_after) if now > not_after => Err(EndorsementError::Expired {
            subject: subject(),
            not_after,
        }),
        _ => Ok(()),
    }
}

/// Whether a certificate is one of a CA that may issue EK certificates, by its own words.
pub(super) fn check_authority(issuer: &Certificate) -> Result<(), EndorsementError> {
    let subject = issuer.subject.to_string();
    // A CA has a subject (RFC 5280 §4.1.2.6); one without is no authority, and equals not even itself.
    if !issuer.extensions.is_ca || issuer.subject.is_empty() {
        return Err(EndorsementError::IssuerNotCa { subject });
    }
    if issuer
        .extensions
        .key_usage
        .is_some_and(|usage| !usage.cert_sign)
    {
        return Err(EndorsementError::IssuerMayNotSign { subject });
    }
    if !issuer.extensions.may_endorse() {
        return Err(EndorsementError::IssuerPurpose { subject });
    }
    Ok(())
}

/// RFC 5280 §4.2.1.9: CAs below, self-issued ones and the leaf not counted.
fn check_path_length(issuer: &Certificate, below: &[&Certificate]) -> Result<(), EndorsementError> {
    let authorities = below.iter().skip(1).filter(|one| !one.is_self_issued());
    let count = u32::try_from(authorities.count()).unwrap_or(u32::MAX);
    match issuer.extensions.path_length {
        Some(allowed) if count > allowed => Err(EndorsementError::PathLength {
            subject: issuer.subject.to_string(),
            allowed,
        }),
        _ => Ok(()),
    }
}

/// Checks the signature on `child` with the key of `issuer`, which must be a sound one.
pub(super) fn check_signature(
    child: &Certificate,
    issuer: &Certificate,
) -> Result<(), EndorsementError> {
    check_key(issuer)?;
    let algorithm = &child.signature_algorithm;
    let subject = || child.subject.to_string();
    issuer
        .key
        .verify(algorithm, &child.signed_part, &child.signature)
        .map_err(|fault| match fault {
            SignatureFault::Sha1 => EndorsementError::Sha1Signature { subject: subject() },
            SignatureFault::Algorithm(algorithm) => EndorsementError::UnsupportedSignature {
                subject: subject(),
                algorithm,
            },
            SignatureFault::Forged => EndorsementError::BadSignature {
                subject: subject(),
                issuer: issuer.subject.to_string(),
            },
        })
}

/// Refuses a certificate's key if it is weak or unknown.
pub(super) fn check_key(certificate: &Certificate) -> Result<(), EndorsementError> {
    let subject = || certificate.subject.to_string();
    certificate.key.check().map_err(|fault| match fault {
        KeyFault::WeakRsa(bits) => EndorsementError::WeakRsa {
            subject: subject(),
            bits,
        },
        KeyFault::Unsupported(algorithm) => EndorsementError::UnsupportedKey {
            subject: subject(),
            algorithm,
        },
    })
}
