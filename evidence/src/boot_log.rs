//! The firmware's event log (TCG PC Client Platform Firmware Profile §10, "PFP"): parse and replay.
//!
//! A log is only a claim. Replay folds its digests into PCR values; if the TPM quoted the same
//! values, the *digests* are proven. Type and data of an event are proven only where the digest
//! recomputes from them: everything else is called `untrusted`.

mod bank;
mod command_line;
mod compare;
mod content;
mod describe;
pub mod kind;
mod order;
mod parse;
mod replay;
mod spec_id;
#[cfg(test)]
pub(crate) mod tests;
mod untouched;
mod utf16;
mod variable;

use crate::digest::Sha256Digest;

pub use bank::{Bank, BankDigest};
pub use command_line::{CommandLine, CommandLineSource};
pub use compare::{Difference, differences};
pub use content::Content;
pub use describe::{Description, Phase};
pub use order::{Disorder, ExitBootServices};
pub use parse::{BootLog, BootLogError, EVENTS_MAX, LOG_MAX};
pub use replay::{QuotedBoot, ReplayError, ReplayedLog, Unexplained};
pub use untouched::Untouched;
pub use variable::{SecureBootPolicy, Variable};

/// PCRs that firmware and boot loader extend and that the log must explain: 0–9 and 14
/// (PFP §3.3.4; 8, 9 and 14 by GRUB and shim).
pub const BOOT_PCRS: [u8; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14];

/// One event that was extended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position in the log, its first event being 0: the Spec ID, where there is one.
    pub number: usize,
    /// The PCR that it was extended into.
    pub pcr: u8,
    /// Its type (see [`kind`]); not covered by the digest.
    pub untrusted_kind: u32,
    digests: Vec<BankDigest>,
    /// Its data; not covered by the digest unless it recomputes.
    pub untrusted_data: Vec<u8>,
}

impl Event {
    /// What was extended into the PCR of `bank`; `None` if the event has no digest of it.
    #[must_use]
    pub fn digest(&self, bank: Bank) -> Option<&BankDigest> {
        self.digests.iter().find(|digest| digest.bank() == bank)
    }

    /// What was extended into the SHA-256 bank. Every event of a [`ReplayedLog`] has it.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256Digest> {
        self.digest(Bank::Sha256)?.sha256()
    }
}

/// An event that only informs (EV_NO_ACTION, PFP §10.4.5): never extended, so never proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Position in the log.
    pub number: usize,
    /// The PCR that it names; `None`: 0xFFFFFFFF, no PCR.
    pub untrusted_pcr: Option<u8>,
    /// Its data.
    pub untrusted_data: Vec<u8>,
}
