//! The release key: what layer keys are sealed to, so that only this TPM opens them, and only in this boot.
//!
//! It is the primary of the NULL hierarchy by [`RELEASE_KEY_TEMPLATE`], whose seed is another after each TPM
//! Reset (TPM 2.0 Part 1 §14, Null Seed), and the AK certifies it in the round.
//! Not established here: that the boot is a good one, and that the TPM was not restarted in between: a TPM
//! Restart keeps the key. What is sealed to it says by its policy for which state it is.
//!
//! [`RELEASE_KEY_TEMPLATE`]: crate::tpm::template::RELEASE_KEY_TEMPLATE

use crate::finding::Finding;
use crate::quote::{Authentic, Discontinuity, NotAuthentic, VerifiedQuote};
use crate::tpm::attest::Attested;
use crate::tpm::hash::Hash;
use crate::tpm::name::Name;
use crate::tpm::public::Public;
use crate::tpm::reader::TpmFormatError;
use crate::tpm::template::KeyTemplateError;

/// `TPM_RH_NULL` (TPM 2.0 Part 2 §7.4).
const RH_NULL: u32 = 0x4000_0007;

/// What a round's qualifying data says of the release key with this public area, whatever is in it.
#[must_use]
pub fn release_key_name(public: &[u8]) -> Name {
    Name::of(Hash::Sha256, public)
}

/// Why a key is not the release key of the host's TPM in this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseKeyError {
    /// `TPMT_PUBLIC` does not parse.
    #[error("the release key is malformed: {0}")]
    Malformed(TpmFormatError),
    /// Its attributes let it leave the TPM, or it came from elsewhere.
    #[error("the release key is not bound to the TPM that made it")]
    Exportable(KeyTemplateError),
    /// It is not what the template makes.
    #[error("the release key does not follow its template: {0}")]
    Template(KeyTemplateError),
    /// The certification is not a statement of this TPM for this round.
    #[error("the certification of the release key is not authentic: {0}")]
    NotAuthentic(NotAuthentic),
    /// It is a quote or something else.
    #[error("the statement does not certify a key")]
    NotCertified,
    /// It certifies another key.
    #[error("the certified key is not the release key")]
    OtherKey,
    /// The key is in another hierarchy, or no primary: it may outlive the boot.
    #[error("the release key is not a primary of the NULL hierarchy")]
    OtherHierarchy,
    /// Certified in another boot than the quote, or before it.
    #[error("the certification and the quote are not of one round: {0}")]
    OtherRound(Discontinuity),
}

impl ReleaseKeyError {
    /// The error as a finding.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Malformed(error) => Finding::new("release-key-malformed").observed(error),
            Self::Exportable(error) => Finding::new("release-key-exportable").observed(error),
            Self::Template(error) => Finding::new("release-key-template-mismatch").observed(error),
            Self::NotAuthentic(error) => {
                Finding::new("release-key-not-authentic").observed(error.code())
            }
            Self::NotCertified => Finding::new("release-key-not-certified"),
            Self::OtherKey => Finding::new("release-key-mismatch"),
            Self::OtherHierarchy => Finding::new("release-key-hierarchy-mismatch"),
            Self::OtherRound(why) => why.finding("certification of the release key"),
        }
    }
}

/// A release key that the TPM held when it made the quote that goes with it.
#[derive(Debug, Clone)]
pub struct VerifiedReleaseKey {
    public: Public,
    quote: VerifiedQuote,
}

impl VerifiedReleaseKey {
    /// Verifies that `public` is a release key by its template, and that `statement` certifies it as a primary of
    /// the NULL hierarchy in the same round as `quote`.
    pub fn verify(
        public: &[u8],
        statement: &Authentic,
        quote: &VerifiedQuote,
    ) -> Result<Self, ReleaseKeyError> {
        let public = Public::parse(public).map_err(ReleaseKeyError::Malformed)?;
        check_template(&public)?;
        let Attested::Certify {
            name,
            qualified_name,
        } = statement.attested()
        else {
            return Err(ReleaseKeyError::NotCertified);
        };
        let expected = public.name();
        if name != expected.as_bytes() {
            return Err(ReleaseKeyError::OtherKey);
        }
        // A key that was loaded from outside has the same Qualified Name, but never these attributes together with
        // a private part; and without its private part no key is certified (Part 3 §12.3, §18.2).
        if qualified_name != expected.qualified_under_hierarchy(RH_NULL).as_bytes() {
            return Err(ReleaseKeyError::OtherHierarchy);
        }
        statement
            .continues(quote)
            .map_err(ReleaseKeyError::OtherRound)?;
        Ok(Self {
            public,
            quote: quote.clone(),
        })
    }

    /// The public area.
    #[must_use]
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// The quote of the round: in which state the TPM held it.
    #[must_use]
    pub fn quote(&self) -> &VerifiedQuote {
        &self.quote
    }
}

fn check_template(public: &Public) -> Result<(), ReleaseKeyError> {
    public
        .check_release_template()
        .map_err(|error| match public.may_leave_its_tpm() {
            true => ReleaseKeyError::Exportable(error),
            false => ReleaseKeyError::Template(error),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;
    use crate::pcr::{PcrSelection, PcrValues};
    use crate::tpm::software::{OF_ANOTHER_ROUND, SoftwareTpm, Statement, release_key};

    const RH_OWNER: u32 = 0x4000_0001;

    /// A TPM, its quote and its release key, in one round.
    struct Round {
        tpm: SoftwareTpm,
        id: Sha256Digest,
        quote: VerifiedQuote,
        public: Vec<u8>,
    }

    impl Round {
        fn new() -> Self {
            let (tpm, id) = (SoftwareTpm::new(), Sha256Digest::of(b"round"));
            let values = PcrValues([(0, Sha256Digest::ZERO)].into());
            let selection = PcrSelection::try_from(vec![0]).unwrap();
            let signed = tpm.sign(&tpm.quote(&id, &values));
            let statement = Authentic::verify(&signed, &tpm.ak, &id).unwrap();
            Self {
                quote: VerifiedQuote::verify(&statement, selection, values).unwrap(),
                public: release_key(&tpm.point()),
                tpm,
                id,
            }
        }

        /// What is told of `public`, certified under `hierarchy`, once `change` altered the statement.
        fn told_of(
            &self,
            public: &[u8],
            hierarchy: u32,
            change: impl FnOnce(&mut Statement),
        ) -> Result<(), ReleaseKeyError> {
            let name = release_key_name(public);
            let mut statement = self.tpm.key_certification(&self.id, &name, hierarchy);
            change(&mut statement);
            let signed = self.tpm.sign(&statement);
            let statement = Authentic::verify(&signed, &self.tpm.ak, &self.id).unwrap();
            VerifiedReleaseKey::verify(public, &statement, &self.quote).map(drop)
        }

        fn told(&self, change: impl FnOnce(&mut Statement)) -> Result<(), ReleaseKeyError> {
            self.told_of(&self.public, RH_NULL, change)
        }

        /// The code for the key after `with` replaced the byte at `at`.
        fn code(&self, at: usize, with: u8) -> String {
            let mut public = self.public.clone();
            public[at] = with;
            code(self.told_of(&public, RH_NULL, |_| ()))
        }
    }

    fn code(told: Result<(), ReleaseKeyError>) -> String {
        told.map_or_else(|error| error.finding().code, |()| "none".to_owned())
    }

    #[test]
    fn a_certified_release_key_is_proven_with_the_state_that_it_was_held_in() {
        let round = Round::new();
        let name = release_key_name(&round.public);
        let signed = round.tpm.key_certification(&round.id, &name, RH_NULL);
        let signed = round.tpm.sign(&signed);
        let statement = Authentic::verify(&signed, &round.tpm.ak, &round.id).unwrap();
        let key = VerifiedReleaseKey::verify(&round.public, &statement, &round.quote).unwrap();
        assert_eq!(key.public().as_bytes(), round.public);
        assert_eq!(key.public().name(), name);
        assert_eq!(key.quote().clock(), round.quote.clock());
    }

    #[test]
    fn a_release_key_that_may_be_exported_is_refused() {
        let round = Round::new();
        assert_eq!(round.code(7, 0x72), "none");
        // Without fixedTPM, fixedParent, sensitiveDataOrigin, and without any.
        for bits in [0x70, 0x62, 0x52, 0x40] {
            assert_eq!(round.code(7, bits), "release-key-exportable", "{bits:#x}");
        }
    }

    #[test]
    fn a_release_key_that_is_not_the_templates_is_refused() {
        let round = Round::new();
        let other = "release-key-template-mismatch";
        for bit in 0..32 {
            let at = 4 + bit / 8;
            let changed = round.public[at] ^ (1 << (bit % 8));
            let bound = matches!((at, bit % 8), (7, 1 | 4 | 5));
            let expected = if bound {
                "release-key-exportable"
            } else {
                other
            };
            assert_eq!(round.code(at, changed), expected, "{at} {changed:#x}");
        }
        // AES-256; no symmetric algorithm, which leaves bytes over.
        let mut longer = round.public.clone();
        longer[12..14].copy_from_slice(&[1, 0]);
        assert_eq!(code(round.told_of(&longer, RH_NULL, |_| ())), other);
        // A policy.
        let mut policy = round.public.clone();
        policy.splice(8..10, [0, 1, 7]);
        assert_eq!(code(round.told_of(&policy, RH_NULL, |_| ())), other);
        // A key that signs, and an EK on another curve.
        let ak = round.tpm.ak.public().as_bytes();
        assert_eq!(code(round.told_of(ak, RH_NULL, |_| ())), other);
        assert_eq!(round.code(3, 0x0c), other);
        assert_eq!(round.code(19, 0x04), other);
    }

    #[test]
    fn a_release_key_that_does_not_parse_is_refused() {
        let round = Round::new();
        for length in 0..round.public.len() {
            let told = round.told_of(&round.public[..length], RH_NULL, |_| ());
            assert_eq!(code(told), "release-key-malformed", "cut to {length}");
        }
        assert_eq!(round.code(1, 0x08), "release-key-malformed");
    }

    #[test]
    fn only_a_certification_of_this_very_key_counts() {
        let round = Round::new();
        let told = |change: &dyn Fn(&mut Statement)| code(round.told(|lie| change(lie)));
        assert_eq!(told(&|_| ()), "none");
        let quote = round.tpm.quote(&round.id, &PcrValues::default());
        assert_eq!(
            told(&|lie| *lie = quote.clone()),
            "release-key-not-certified"
        );
        let tag = round.tpm.certification(&round.id, b"name", 0, b"tag");
        assert_eq!(told(&|lie| *lie = tag.clone()), "release-key-not-certified");
        // The certification of another key, of the same template.
        let other = release_key_name(&release_key(&SoftwareTpm::new().point()));
        let other = round.tpm.key_certification(&round.id, &other, RH_NULL);
        assert_eq!(told(&|lie| *lie = other.clone()), "release-key-mismatch");
    }

    #[test]
    fn a_key_of_another_hierarchy_may_outlive_the_boot() {
        let round = Round::new();
        // Owner, endorsement, platform.
        for hierarchy in [RH_OWNER, 0x4000_000b, 0x4000_000c] {
            let told = round.told_of(&round.public, hierarchy, |_| ());
            assert_eq!(told, Err(ReleaseKeyError::OtherHierarchy), "{hierarchy:#x}");
        }
        // Below a primary of the NULL hierarchy.
        let name = release_key_name(&round.public);
        let parent = name.qualified_under_hierarchy(RH_NULL);
        let below = name.qualified_under(&parent);
        let told = round.told(|lie| {
            lie.body.truncate(36);
            crate::tpm::reader::write_sized(&mut lie.body, below.as_bytes()).unwrap();
        });
        assert_eq!(code(told), "release-key-hierarchy-mismatch");
    }

    #[test]
    fn quote_and_certification_are_of_one_boot_in_this_order() {
        let round = Round::new();
        assert_eq!(round.told(|later| later.clock.clock += 1), Ok(()));
        for (lie, why) in OF_ANOTHER_ROUND {
            assert_eq!(round.told(lie), Err(ReleaseKeyError::OtherRound(why)));
        }
    }

    #[test]
    fn a_certification_by_another_tpm_is_told_as_one() {
        let (round, other) = (Round::new(), SoftwareTpm::new());
        let name = release_key_name(&round.public);
        let foreign = other.key_certification(&round.id, &name, RH_NULL);
        let error = Authentic::verify(&other.sign(&foreign), &round.tpm.ak, &round.id)
            .map_err(ReleaseKeyError::NotAuthentic)
            .unwrap_err();
        let finding = error.finding();
        assert_eq!(finding.code, "release-key-not-authentic");
        assert_eq!(finding.observed.as_deref(), Some("signature-invalid"));
    }
}
