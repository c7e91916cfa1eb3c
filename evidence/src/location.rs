//! Location tags: an authority's signed word that a machine stands in a place.
//!
//! A tag is at most 512 bytes, so that it fits a TPM's NV index. It names the host by its EKs, not
//! by its name, so that it follows the machine and no other.
//!
//! Not established here: that the machine is still there. Grade L1 means: the authority vouches
//! until the tag expires or a newer one replaces it.

mod country;
mod place;
mod tag;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::nv::{CarriedTag, NvError};
use crate::quote::NotAuthentic;

pub use place::{Country, NotAPlace, Place};
pub use tag::{LocationTag, TAG_MAX, TagFormatError};

/// One digest over all EKs of a machine: SHA-256 of their sorted SPKI digests, so that the order of
/// an inventory line does not matter.
#[must_use]
pub fn ek_set_digest(ek_digests: &[Sha256Digest]) -> Sha256Digest {
    let mut sorted: Vec<&[u8]> = ek_digests.iter().map(|digest| &digest.0[..]).collect();
    sorted.sort_unstable();
    sorted.dedup();
    Sha256Digest::of_parts(&sorted)
}

/// The key of a location authority, held by whoever knows where machines stand; not by the attestor.
pub struct LocationAuthority {
    key: SigningKey,
}

impl LocationAuthority {
    /// From the 32 secret bytes.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(secret),
        }
    }

    /// The key that verifies its tags.
    #[must_use]
    pub fn public_key(&self) -> AuthorityKey {
        AuthorityKey(self.key.verifying_key())
    }

    /// Signs `tag`; the tag's own authority id is set to this authority's.
    pub fn sign(&self, mut tag: LocationTag) -> Result<Vec<u8>, TagFormatError> {
        tag.authority = self.public_key().id();
        let body = tag.encode()?;
        let signature = self.key.sign(&tag::signed_bytes(&body));
        Ok([body.as_slice(), &signature.to_bytes()].concat())
    }
}

/// The public key of a location authority that the attestor was told to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityKey(VerifyingKey);

impl AuthorityKey {
    /// From 32 bytes; `None` when they are no point of the curve or a weak one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// SHA-256 of the key: how tags name it.
    #[must_use]
    pub fn id(&self) -> Sha256Digest {
        Sha256Digest::of(self.0.as_bytes())
    }
}

/// What the attestor knows about where a host should say it is.
#[derive(Clone, Copy, Debug)]
pub struct TagExpectation<'a> {
    /// Authorities in force.
    pub authorities: &'a [AuthorityKey],
    /// [`ek_set_digest`] of the host's inventory entry.
    pub ek_set: Sha256Digest,
    /// Serial of the authority's current tag for this host; `None` when it has none.
    pub current_serial: Option<u64>,
    /// SHA-256 of tags that an operator took back.
    pub revoked: &'a [Sha256Digest],
    /// Seconds since 1970.
    pub now: i64,
}

/// Why a host's place is not proven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// No tag was presented.
    #[error("the host presented no location tag")]
    Absent,
    /// The certification is not a statement of this TPM for this round.
    #[error("the location certification is not authentic: {0}")]
    NotAuthentic(NotAuthentic),
    /// The certification proves something else.
    #[error("the location certification proves something else: {0}")]
    Nv(NvError),
    /// The index does not hold a tag.
    #[error("the index does not hold a location tag: {0}")]
    Format(TagFormatError),
    /// No authority that is believed has this id.
    #[error("the tag names an authority that is not believed")]
    UnknownAuthority,
    /// The authority with this id was believed when the tag was issued, and is no more.
    #[error("the tag is of an authority that was revoked")]
    RevokedAuthority(Sha256Digest),
    /// The authority did not sign it.
    #[error("the tag's signature does not verify")]
    BadSignature,
    /// It vouches for another machine.
    #[error("the tag is another machine's")]
    OtherHost,
    /// An operator took it back.
    #[error("the tag is revoked")]
    Revoked(Sha256Digest),
    /// A newer tag was issued, or this one was never registered.
    #[error("the tag's serial is not the current one")]
    Superseded {
        /// In the tag.
        observed: u64,
        /// In force.
        current: Option<u64>,
    },
    /// Its time has not come.
    #[error("the tag is not yet valid")]
    NotYetValid(i64),
    /// Its time is over.
    #[error("the tag has expired")]
    Expired(i64),
}

impl LocationError {
    /// The error as a finding.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Absent => Finding::new("location-absent"),
            Self::NotAuthentic(error) => {
                Finding::new("location-not-authentic").observed(error.code())
            }
            Self::Nv(NvError::NotNv) => Finding::new("location-not-certified"),
            Self::Nv(NvError::OtherIndex) => Finding::new("location-index-mismatch"),
            Self::Nv(NvError::OtherRound(why)) => why.finding("location certification"),
            Self::Format(error @ TagFormatError::Version) => {
                Finding::new("location-tag-version-unknown").observed(error)
            }
            Self::Format(error) => Finding::new("location-tag-malformed").observed(error),
            Self::UnknownAuthority => Finding::new("location-authority-unknown"),
            Self::RevokedAuthority(id) => Finding::new("location-authority-revoked").observed(id),
            Self::BadSignature => Finding::new("location-signature-invalid"),
            Self::OtherHost => Finding::new("location-tag-other-host"),
            Self::Revoked(tag) => Finding::new("location-tag-revoked").observed(tag),
            Self::Superseded { observed, current } => {
                let finding = Finding::new("location-tag-superseded").observed(observed);
                match current {
                    Some(serial) => finding.expected(serial),
                    None => finding,
                }
            }
            Self::NotYetValid(from) => Finding::new("location-tag-not-yet-valid").observed(from),
            Self::Expired(until) => Finding::new("location-tag-expired").observed(until),
        }
    }
}

/// A place that a configured authority vouches for, carried by this TPM in this round (grade L1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPlace {
    place: Place,
    valid_until: i64,
    serial: u64,
}

impl VerifiedPlace {
    /// Verifies the tag that the TPM carries against what the attestor knows.
    pub fn verify(
        carried: &CarriedTag,
        expected: &TagExpectation<'_>,
    ) -> Result<Self, LocationError> {
        let tag = verify_tag(carried.contents(), expected.authorities)?;
        if tag.ek_set != expected.ek_set {
            return Err(LocationError::OtherHost);
        }
        let digest = Sha256Digest::of(carried.contents());
        if expected.revoked.contains(&digest) {
            return Err(LocationError::Revoked(digest));
        }
        if Some(tag.serial) != expected.current_serial {
            return Err(LocationError::Superseded {
                observed: tag.serial,
                current: expected.current_serial,
            });
        }
        if expected.now < tag.not_before {
            return Err(LocationError::NotYetValid(tag.not_before));
        }
        if expected.now >= tag.not_after {
            return Err(LocationError::Expired(tag.not_after));
        }
        Ok(Self {
            place: tag.place,
            valid_until: tag.not_after,
            serial: tag.serial,
        })
    }

    /// Where.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Until when the authority vouches, seconds since 1970.
    #[must_use]
    pub fn valid_until(&self) -> i64 {
        self.valid_until
    }

    /// The tag's serial.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }
}

/// Parses a tag and verifies nothing: for the history of tags that were verified when they were issued.
pub fn untrusted_tag(signed: &[u8]) -> Result<LocationTag, TagFormatError> {
    LocationTag::parse(signed).map(|(tag, ..)| tag)
}

/// Parses a tag and verifies its signature under the authority that it names.
pub fn verify_tag(
    signed: &[u8],
    authorities: &[AuthorityKey],
) -> Result<LocationTag, LocationError> {
    let (tag, body, signature) = LocationTag::parse(signed).map_err(LocationError::Format)?;
    let authority = authorities
        .iter()
        .find(|key| key.id() == tag.authority)
        .ok_or(LocationError::UnknownAuthority)?;
    let signature = ed25519_dalek::Signature::from_bytes(&signature);
    authority
        .0
        .verify_strict(&tag::signed_bytes(body), &signature)
        .map_err(|_| LocationError::BadSignature)?;
    Ok(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(serial: u64) -> LocationTag {
        LocationTag {
            authority: Sha256Digest::ZERO,
            ek_set: ek_set_digest(&[Sha256Digest::of(b"ek")]),
            serial,
            not_before: 100,
            not_after: 200,
            place: Place::new("DE", Some("DE-HE"), "fra1").unwrap(),
        }
    }

    #[test]
    fn a_signed_tag_verifies_and_every_flipped_bit_breaks_it() {
        let authority = LocationAuthority::from_secret(&[7; 32]);
        let keys = [authority.public_key()];
        let signed = authority.sign(tag(1)).unwrap();
        assert_eq!(
            verify_tag(&signed, &keys).unwrap().place.to_string(),
            "DE (DE-HE, fra1)"
        );
        for bit in 0..signed.len() * 8 {
            let mut broken = signed.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(verify_tag(&broken, &keys).is_err(), "bit {bit}");
        }
        for length in 0..signed.len() {
            assert!(verify_tag(&signed[..length], &keys).is_err());
        }
        let other = LocationAuthority::from_secret(&[8; 32]);
        assert_eq!(
            verify_tag(&signed, &[other.public_key()]),
            Err(LocationError::UnknownAuthority)
        );
    }

    #[test]
    fn each_expectation_has_its_own_refusal() {
        let authority = LocationAuthority::from_secret(&[7; 32]);
        let carried = CarriedTag::for_tests(authority.sign(tag(3)).unwrap());
        let keys = [authority.public_key()];
        let right = TagExpectation {
            authorities: &keys,
            ek_set: ek_set_digest(&[Sha256Digest::of(b"ek")]),
            current_serial: Some(3),
            revoked: &[],
            now: 150,
        };
        assert!(VerifiedPlace::verify(&carried, &right).is_ok());
        let code = |expected| {
            VerifiedPlace::verify(&carried, &expected)
                .unwrap_err()
                .finding()
                .code
        };
        let ek_set = Sha256Digest::ZERO;
        assert_eq!(
            code(TagExpectation { ek_set, ..right }),
            "location-tag-other-host"
        );
        for current_serial in [None, Some(2), Some(4)] {
            let expected = TagExpectation {
                current_serial,
                ..right
            };
            assert_eq!(code(expected), "location-tag-superseded");
        }
        assert_eq!(
            code(TagExpectation { now: 99, ..right }),
            "location-tag-not-yet-valid"
        );
        assert_eq!(
            code(TagExpectation { now: 200, ..right }),
            "location-tag-expired"
        );
        let revoked = &[Sha256Digest::ZERO, Sha256Digest::of(carried.contents())];
        let taken_back = TagExpectation { revoked, ..right };
        assert_eq!(code(taken_back), "location-tag-revoked");
        let authorities = &[];
        let none = TagExpectation {
            authorities,
            ..right
        };
        assert_eq!(code(none), "location-authority-unknown");
    }
}
