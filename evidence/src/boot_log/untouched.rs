//! A bank in which no boot was measured: left at its start, or closed without a measurement.

use super::Bank;
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::pcr::PcrValues;

/// PCRs that every firmware extends: at least its version, Secure Boot policy and separators (PFP §3.3.4).
const FIRMWARE: std::ops::RangeInclusive<u8> = 0..=7;
/// What a separator measures, 00000001 where firmware reports an error (PFP §10.4.1).
const SEPARATORS: [[u8; 4]; 3] = [[0; 4], [0xff; 4], [1, 0, 0, 0]];

/// How the firmware's PCRs show that it did not measure into this bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untouched {
    /// All are as the TPM started.
    #[error("PCRs 0 to 7 of the SHA-256 bank were never extended")]
    Empty,
    /// All are at their start, all ones, or hold one separator and nothing else.
    #[error("PCRs 0 to 7 of the SHA-256 bank were closed without a measurement")]
    Capped,
}

impl Untouched {
    /// `None`: something was measured, or not all these PCRs are there to tell.
    #[must_use]
    pub fn of(values: &PcrValues) -> Option<Self> {
        let firmware: Vec<&Sha256Digest> = FIRMWARE.filter_map(|pcr| values.value(pcr)).collect();
        if firmware.len() != FIRMWARE.count() {
            return None;
        }
        if firmware.iter().all(|value| is_start(value)) {
            return Some(Self::Empty);
        }
        let caps = caps();
        firmware
            .iter()
            .all(|value| is_start(value) || caps.contains(value))
            .then_some(Self::Capped)
    }

    /// The error as a finding.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let code = match self {
            Self::Empty => "pcr-bank-empty",
            Self::Capped => "pcr-bank-capped",
        };
        Finding::new(code)
    }
}

/// Zeros, but for the locality that PCR 0 may start with.
fn is_start(value: &Sha256Digest) -> bool {
    matches!(value.0, [zeros @ .., 0 | 3 | 4] if zeros.iter().all(|byte| *byte == 0))
}

fn caps() -> Vec<Sha256Digest> {
    let bank = Bank::Sha256;
    let separators = SEPARATORS.iter().filter_map(|data| {
        let extended = bank.start(0)?.extend(&bank.hash(data)?)?;
        extended.sha256()
    });
    separators.chain([Sha256Digest([0xff; 32])]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: impl Fn(u8) -> Sha256Digest) -> PcrValues {
        PcrValues((0..16).map(|pcr| (pcr, of(pcr))).collect())
    }

    #[test]
    fn a_bank_without_measurements_is_told_from_one_with() {
        let zero = values(|_| Sha256Digest::ZERO);
        assert_eq!(Untouched::of(&zero), Some(Untouched::Empty));
        let mut locality = zero.clone();
        locality.0.insert(0, {
            let mut start = [0; 32];
            start[31] = 3;
            Sha256Digest(start)
        });
        assert_eq!(Untouched::of(&locality), Some(Untouched::Empty));

        let ones = values(|_| Sha256Digest([0xff; 32]));
        assert_eq!(Untouched::of(&ones), Some(Untouched::Capped));
        for cap in caps() {
            let mut capped = values(|_| cap);
            assert_eq!(Untouched::of(&capped), Some(Untouched::Capped));
            // What the operating system extends is not the firmware's.
            capped.0.insert(10, Sha256Digest([7; 32]));
            assert_eq!(Untouched::of(&capped), Some(Untouched::Capped));
            for pcr in 0..8 {
                let mut measured = capped.clone();
                measured.0.insert(pcr, Sha256Digest([7; 32]));
                assert_eq!(Untouched::of(&measured), None);
                // A PCR that was not selected cannot tell.
                measured.0.remove(&pcr);
                assert_eq!(Untouched::of(&measured), None);
            }
        }
        assert_eq!(caps().len(), 4);
    }
}
