//! `TPM2_NV_Certify` of the location index: what a TPM carries, said by the TPM itself.
//!
//! Not established here: who wrote the contents. The owner of a host may rewrite its index; only
//! the authority's signature and the current serial make the contents a place.

use crate::quote::{Authentic, Discontinuity, VerifiedQuote};
use crate::tpm::attest::Attested;
use crate::tpm::hash::Hash;
use crate::tpm::name::Name;
use crate::tpm::reader::write_sized;

/// NV index that carries the location tag: in the owner's range (TPM 2.0 Part 2 §7.2, §7.5).
pub const LOCATION_INDEX: u32 = 0x0180_7401;

/// `TPMA_NV` of that index once written: OWNERWRITE (1), OWNERREAD (17), AUTHREAD (18), NO_DA (25),
/// WRITTEN (29) (Part 2 §13.4).
pub const LOCATION_ATTRIBUTES: u32 = (1 << 1) | (1 << 17) | (1 << 18) | (1 << 25) | (1 << 29);

/// Why a certification does not prove what the location index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NvError {
    /// It is a quote or something else.
    #[error("the statement does not certify an NV index")]
    NotNv,
    /// Another index, other attributes, another size, never written, or only a part of it.
    #[error("the certified index is not the location index, whole and written")]
    OtherIndex,
    /// Made in another boot than the quote, or before it.
    #[error("the certification and the quote are not of one round: {0}")]
    OtherRound(Discontinuity),
}

/// The contents of the location index in this round.
#[derive(Debug, Clone)]
pub struct CarriedTag {
    contents: Vec<u8>,
}

impl CarriedTag {
    /// Verifies that `statement` certifies the whole location index, in the same round as `quote`.
    pub fn verify(statement: &Authentic, quote: &VerifiedQuote) -> Result<Self, NvError> {
        let Attested::Nv {
            index_name,
            offset,
            contents,
        } = statement.attested()
        else {
            return Err(NvError::NotNv);
        };
        let expected = location_index_name(contents.len()).ok_or(NvError::OtherIndex)?;
        // The Name covers the size, so contents of the whole size at offset 0 are all there is.
        if *offset != 0 || index_name != expected.as_bytes() {
            return Err(NvError::OtherIndex);
        }
        statement.continues(quote).map_err(NvError::OtherRound)?;
        Ok(Self {
            contents: contents.clone(),
        })
    }

    /// What the index holds.
    #[must_use]
    pub fn contents(&self) -> &[u8] {
        &self.contents
    }
}

/// Name of the location index with `size` bytes, from its public area `TPMS_NV_PUBLIC` (Part 2 §13.5).
fn location_index_name(size: usize) -> Option<Name> {
    let mut public = Vec::new();
    public.extend(LOCATION_INDEX.to_be_bytes());
    public.extend(Hash::Sha256.id().to_be_bytes());
    public.extend(LOCATION_ATTRIBUTES.to_be_bytes());
    write_sized(&mut public, &[])?;
    public.extend(u16::try_from(size).ok()?.to_be_bytes());
    Some(Name::of(Hash::Sha256, &public))
}

#[cfg(test)]
impl CarriedTag {
    /// Contents as if certified, for tests of what comes after.
    pub(crate) fn for_tests(contents: Vec<u8>) -> Self {
        Self { contents }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;
    use crate::pcr::{PcrSelection, PcrValues};
    use crate::tpm::software::{OF_ANOTHER_ROUND, SoftwareTpm, Statement};

    const TAG: &[u8] = b"a tag";

    /// What becomes of a certification that `change` altered before it was signed.
    fn carried(
        offset: u16,
        name: impl Fn(Name) -> Vec<u8>,
        change: impl Fn(&mut Statement),
    ) -> Result<Vec<u8>, NvError> {
        let (tpm, round) = (SoftwareTpm::new(), Sha256Digest::of(b"round"));
        let authentic = |statement: &Statement| {
            Authentic::verify(&tpm.sign(statement), &tpm.ak, &round).unwrap()
        };
        let values = PcrValues([(0, Sha256Digest::ZERO)].into());
        let selection = PcrSelection::try_from(vec![0]).unwrap();
        let quote = authentic(&tpm.quote(&round, &values));
        let quote = VerifiedQuote::verify(&quote, selection, values).unwrap();
        let name = name(location_index_name(TAG.len()).unwrap());
        let mut certification = tpm.certification(&round, &name, offset, TAG);
        change(&mut certification);
        CarriedTag::verify(&authentic(&certification), &quote).map(|tag| tag.contents)
    }

    fn right(name: Name) -> Vec<u8> {
        name.as_bytes().to_vec()
    }

    #[test]
    fn only_the_whole_location_index_counts() {
        assert_eq!(carried(0, right, |_| ()), Ok(TAG.to_vec()));
        assert_eq!(carried(1, right, |_| ()), Err(NvError::OtherIndex));
        let longer = |_| right(location_index_name(TAG.len() + 1).unwrap());
        assert_eq!(carried(0, longer, |_| ()), Err(NvError::OtherIndex));
        // Of another index or with other attributes.
        let other = |_| right(Name::of(Hash::Sha256, b"another public area"));
        assert_eq!(carried(0, other, |_| ()), Err(NvError::OtherIndex));
    }

    #[test]
    fn quote_and_certification_are_of_one_boot_in_this_order() {
        let after = carried(0, right, |later| later.clock.clock += 1);
        assert_eq!(after, Ok(TAG.to_vec()));
        for (lie, why) in OF_ANOTHER_ROUND {
            assert_eq!(carried(0, right, lie), Err(NvError::OtherRound(why)));
        }
    }
}
