//! Platform configuration registers: which were asked for, and what they held. SHA-256 bank.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::tpm::hash::Hash;
use crate::tpm::reader::{Reader, TpmFormatError};

/// `TPM_ALG_SHA256` (TPM 2.0 Part 2 §6.3).
const ALG_SHA256: u16 = 0x000b;

/// A set of PCR indices 0 to 23 of the SHA-256 bank. In JSON: a sorted list of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct PcrSelection(u32);

/// A list that is no PCR selection.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a PCR selection is a list of different numbers from 0 to 23, not {0:?}")]
pub struct NotASelection(Vec<u8>);

impl PcrSelection {
    /// 0 to 15: what the attestor asks for unless policy says otherwise.
    pub const DEFAULT: Self = Self(0xffff);

    /// The indices, ascending.
    pub fn indices(self) -> impl Iterator<Item = u8> {
        (0..24).filter(move |index| self.contains(*index))
    }

    /// Whether PCR `index` is in the set.
    #[must_use]
    pub fn contains(self, index: u8) -> bool {
        1u32.checked_shl(u32::from(index))
            .is_some_and(|bit| self.0 & bit != 0)
    }

    /// How many PCRs are in the set.
    #[must_use]
    pub fn count(self) -> usize {
        self.indices().count()
    }

    /// Reads a `TPML_PCR_SELECTION` (TPM 2.0 Part 2 §10.9.7) that selects exactly one bank, SHA-256,
    /// by a bitmap of three bytes. `None`: well formed, but another bank, several, or none.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, TpmFormatError> {
        let banks = reader.u32()?;
        // Part 2 table 124: at most HASH_COUNT banks; no TPM has more than 16.
        if banks > 16 {
            return Err(TpmFormatError::TooMany("PCR banks"));
        }
        let mut only = None;
        for _ in 0..banks {
            let algorithm = reader.u16()?;
            let length = reader.u8()?;
            let bitmap = reader.bytes(usize::from(length))?;
            only = match bitmap {
                [a, b, c] if algorithm == ALG_SHA256 => {
                    Some(Self(u32::from_le_bytes([*a, *b, *c, 0])))
                }
                _ => None,
            };
        }
        Ok(only.filter(|_| banks == 1))
    }
}

impl TryFrom<Vec<u8>> for PcrSelection {
    type Error = NotASelection;

    fn try_from(indices: Vec<u8>) -> Result<Self, NotASelection> {
        let mut set = 0;
        for index in &indices {
            let bit = 1u32
                .checked_shl(u32::from(*index))
                .filter(|bit| *index < 24 && set & bit == 0);
            match bit {
                Some(bit) => set |= bit,
                None => return Err(NotASelection(indices)),
            }
        }
        Ok(Self(set))
    }
}

impl From<PcrSelection> for Vec<u8> {
    fn from(selection: PcrSelection) -> Self {
        selection.indices().collect()
    }
}

/// PCR values as reported beside a quote: index → value. Proven only inside
/// [`VerifiedQuote`](crate::quote::VerifiedQuote).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PcrValues(pub BTreeMap<u8, Sha256Digest>);

impl PcrValues {
    /// The value of PCR `index`, if it is among them.
    #[must_use]
    pub fn value(&self, index: u8) -> Option<&Sha256Digest> {
        self.0.get(&index)
    }

    /// The digest that a quote of exactly these PCRs carries: their concatenation, ascending,
    /// under the hash of the signing scheme (TPM 2.0 Part 3 §18.4).
    #[must_use]
    pub fn digest(&self, hash: Hash) -> Vec<u8> {
        let parts: Vec<&[u8]> = self.0.values().map(|value| &value.0[..]).collect();
        hash.digest(&parts)
    }

    /// Whether exactly the selected PCRs are there.
    #[must_use]
    pub fn covers_exactly(&self, selection: PcrSelection) -> bool {
        self.0.keys().copied().eq(selection.indices())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Option<PcrSelection>, TpmFormatError> {
        let mut reader = Reader::new(bytes);
        let selection = PcrSelection::read(&mut reader)?;
        reader.finish()?;
        Ok(selection)
    }

    #[test]
    fn one_sha256_bank_and_nothing_else() {
        let bank = [0, 0x0b, 3, 0xff, 0xff, 0];
        let sha1 = [0, 4, 3, 0xff, 0xff, 0];
        let list = |banks: &[[u8; 6]]| {
            [
                &[0, 0, 0, u8::try_from(banks.len()).unwrap()],
                banks.concat().as_slice(),
            ]
            .concat()
        };
        assert_eq!(parsed(&list(&[bank])), Ok(Some(PcrSelection::DEFAULT)));
        for others in [
            &[][..],
            &[bank, bank],
            &[sha1],
            &[sha1, bank],
            &[bank, sha1],
        ] {
            assert_eq!(parsed(&list(others)), Ok(None), "{others:?}");
        }
        assert!(parsed(&[0xff; 12]).is_err());
    }

    #[test]
    fn a_selection_names_each_register_once() {
        assert_eq!(
            PcrSelection::try_from((0..16).collect::<Vec<u8>>()),
            Ok(PcrSelection::DEFAULT)
        );
        assert!(PcrSelection::try_from(vec![1, 1]).is_err());
        assert!(PcrSelection::try_from(vec![24]).is_err());
        assert!(PcrSelection::try_from(vec![200]).is_err());
    }
}
