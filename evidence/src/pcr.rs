//! Platform configuration registers: which were asked for, and what they held. SHA-256 bank.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::boot_log::Bank;
use crate::digest::Sha256Digest;
use crate::tpm::hash::Hash;
use crate::tpm::reader::{Reader, TpmFormatError};

/// Most banks of a `TPML_PCR_SELECTION`: Part 2 §10.9.7 allows HASH_COUNT, and no TPM has more than 16.
const BANKS_MAX: u32 = 16;

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

    /// Whether no PCR is in the set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many PCRs are in the set.
    #[must_use]
    pub fn count(self) -> usize {
        self.indices().count()
    }

    /// The PCRs, if exactly one bank is selected and it is SHA-256.
    #[must_use]
    pub fn only_sha256(banks: &[BankSelection]) -> Option<Self> {
        match banks {
            [only] if only.bank == Bank::Sha256 => Some(only.pcrs),
            _ => None,
        }
    }
}

/// A `TPMS_PCR_SELECTION` (TPM 2.0 Part 2 §10.6.2): PCRs of one bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BankSelection {
    /// The bank.
    pub bank: Bank,
    /// Its PCRs; none where the TPM does not have the bank, since it clears their bits (Part 3 §18.4).
    pub pcrs: PcrSelection,
}

impl BankSelection {
    /// Reads a `TPML_PCR_SELECTION` (Part 2 §10.9.7) with bitmaps of three bytes, as TPMs of PCs have
    /// them (PC Client Platform TPM Profile §4.6).
    pub(crate) fn read_list(reader: &mut Reader<'_>) -> Result<Vec<Self>, TpmFormatError> {
        let count = reader.u32()?;
        if count > BANKS_MAX {
            return Err(TpmFormatError::TooMany("number of PCR banks"));
        }
        let mut banks = Vec::new();
        for _ in 0..count {
            let bank = Bank::of(reader.u16()?);
            let size = reader.u8()?;
            let [a, b, c] = reader.bytes(usize::from(size))? else {
                return Err(TpmFormatError::Unknown("size of a PCR bitmap"));
            };
            banks.push(Self {
                bank,
                pcrs: PcrSelection(u32::from_le_bytes([*a, *b, *c, 0])),
            });
        }
        Ok(banks)
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
        let banks = BankSelection::read_list(&mut reader)?;
        reader.finish()?;
        Ok(PcrSelection::only_sha256(&banks))
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
        assert_eq!(
            parsed(&[0xff; 12]),
            Err(TpmFormatError::TooMany("number of PCR banks"))
        );
        // A bitmap of another size.
        assert!(parsed(&[0, 0, 0, 1, 0, 0x0b, 2, 0xff, 0xff]).is_err());
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
