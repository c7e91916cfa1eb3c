//! Under which conditions a TPM gives out a sealed secret: `TPM2_PolicyPCR`, then `TPM2_PolicyCounterTimer` twice.
//!
//! The state is compared when a session runs these commands. Until the session is used, an extend of any PCR
//! voids it (TPM 2.0 Part 1 §19.7.9), and so does a TPM Reset; the clock is not compared again.

use crate::boot_log::Bank;
use crate::digest::Sha256Digest;
use crate::pcr::PcrValues;

/// PCRs of the SHA-256 bank that a release is sealed to: firmware, boot loader, MOK list (0–9, 14), and what a
/// unified kernel image measures (11–13), which is zero where there is none. Never 10: each first use of a file
/// extends it.
pub const RELEASE_PCRS: [u8; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14];

/// `TPM_CC` (Part 2 §6.5.2).
const CC_POLICY_COUNTER_TIMER: u32 = 0x0000_016d;
const CC_POLICY_PCR: u32 = 0x0000_017f;
/// `TPM_EO` (Part 2 §6.8).
const EO_EQUAL: u16 = 0x0000;
const EO_UNSIGNED_LESS: u16 = 0x0005;
/// Where in `TPMS_TIME_INFO` (Part 2 §10.11.6) the clock stands, and the two counters after it.
const OFFSET_CLOCK: u16 = 8;
const OFFSET_COUNTERS: u16 = 16;

/// The quote does not show a PCR that releases are sealed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the quote does not show PCR {0}, which releases are sealed to")]
pub struct PcrNotQuoted(pub u8);

/// The state in which a sealed secret is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleasePolicy {
    pcr_digest: Sha256Digest,
    counters: (u32, u32),
    clock_end: u64,
}

/// What `TPM2_PolicyCounterTimer` compares (Part 3 §23.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// With what.
    pub operand: [u8; 8],
    /// From which byte of `TPMS_TIME_INFO` on.
    pub offset: u16,
    /// How: `TPM_EO`.
    pub operation: u16,
}

impl ReleasePolicy {
    /// The state of a quote with these `values`, while (resetCount, restartCount) are `counters`, and until the
    /// clock reads `clock_end` (milliseconds). Host and attestor each make it from their own values.
    pub fn new(
        values: &PcrValues,
        counters: (u32, u32),
        clock_end: u64,
    ) -> Result<Self, PcrNotQuoted> {
        let sealed_to = RELEASE_PCRS
            .iter()
            .map(|pcr| values.value(*pcr).ok_or(PcrNotQuoted(*pcr)))
            .map(|value| value.map(|value| &value.0[..]))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            pcr_digest: Sha256Digest::of_parts(&sealed_to),
            counters,
            clock_end,
        })
    }

    /// SHA-256 over the values of [`RELEASE_PCRS`].
    #[must_use]
    pub fn pcr_digest(&self) -> Sha256Digest {
        self.pcr_digest
    }

    /// That neither counter has moved: no TPM Reset, and no TPM Restart, which keeps the release key and lets the
    /// PCRs be extended to their old values.
    #[must_use]
    pub fn same_boot(&self) -> Comparison {
        let (reset, restart) = (self.counters.0.to_be_bytes(), self.counters.1.to_be_bytes());
        let mut operand = [0; 8];
        for (to, from) in operand.iter_mut().zip(reset.into_iter().chain(restart)) {
            *to = from;
        }
        Comparison {
            operand,
            offset: OFFSET_COUNTERS,
            operation: EO_EQUAL,
        }
    }

    /// That the lease is not over.
    #[must_use]
    pub fn within_lease(&self) -> Comparison {
        Comparison {
            operand: self.clock_end.to_be_bytes(),
            offset: OFFSET_CLOCK,
            operation: EO_UNSIGNED_LESS,
        }
    }

    /// The `authPolicy` of what is sealed so (Part 3 §23.7, §23.10), SHA-256.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        let pcrs = [
            &CC_POLICY_PCR.to_be_bytes()[..],
            &selection(),
            &self.pcr_digest.0,
        ];
        let after_pcrs = extended(Sha256Digest::ZERO, &pcrs.concat());
        [self.same_boot(), self.within_lease()]
            .iter()
            .fold(after_pcrs, |digest, comparison| {
                let code = CC_POLICY_COUNTER_TIMER.to_be_bytes();
                extended(digest, &[&code[..], &comparison.digest().0].concat())
            })
    }
}

impl Comparison {
    fn digest(&self) -> Sha256Digest {
        let [offset, operation] = [self.offset, self.operation].map(u16::to_be_bytes);
        Sha256Digest::of(&[&self.operand[..], &offset, &operation].concat())
    }
}

fn extended(policy: Sha256Digest, by: &[u8]) -> Sha256Digest {
    Sha256Digest::of(&[&policy.0, by].concat())
}

/// `TPML_PCR_SELECTION` (Part 2 §10.9.7) of [`RELEASE_PCRS`].
fn selection() -> Vec<u8> {
    let bits = RELEASE_PCRS.iter().fold(0_u32, |bits, pcr| {
        bits | 1_u32.checked_shl(u32::from(*pcr)).unwrap_or(0)
    });
    let [a, b, c, _] = bits.to_le_bytes();
    let [high, low] = Bank::Sha256.id().to_be_bytes();
    vec![0, 0, 0, 1, high, low, 3, a, b, c]
}
