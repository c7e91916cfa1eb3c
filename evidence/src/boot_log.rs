//! The firmware's event log (TCG PC Client Platform Firmware Profile §10, "PFP"): parse and replay.
//!
//! A log is only a claim. Replay folds its digests into PCR values; if the TPM quoted the same
//! values, the *digests* are proven. Type and data of an event are proven only where the digest
//! recomputes from them: everything else is called `untrusted`.

mod parse;
mod read;
mod text;

use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::quote::VerifiedQuote;

pub use parse::{BootLog, BootLogError, LOG_MAX};

/// PCRs that firmware and boot loader extend and that the log must explain: 0–9 and 14
/// (PFP §3.3.4; 8, 9 and 14 by GRUB and shim).
pub const BOOT_PCRS: [u8; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14];

/// Event types (PFP table 27) that are looked at by number.
pub mod kind {
    /// Informational; never extended.
    pub const NO_ACTION: u32 = 0x0000_0003;
    /// Used by boot loaders for everything they measure.
    pub const IPL: u32 = 0x0000_000d;
    /// A UEFI variable that configures Secure Boot.
    pub const EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
}

/// One event that was extended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Position in the log, the Spec ID event being 0.
    pub number: usize,
    /// The PCR that it was extended into.
    pub pcr: u8,
    /// Its type; not covered by the digest.
    pub untrusted_kind: u32,
    /// What was extended, SHA-256 bank.
    pub digest: Sha256Digest,
    /// Its data; not covered by the digest unless it recomputes.
    pub untrusted_data: Vec<u8>,
}

/// A log whose digests reproduce the quoted PCRs.
#[derive(Clone, Debug)]
pub struct ReplayedLog {
    events: Vec<Event>,
}

/// A PCR that the log does not explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unexplained {
    /// Which PCR.
    pub pcr: u8,
    /// What the log makes of it.
    pub replayed: Sha256Digest,
    /// What the TPM quoted; `None` when it was not selected.
    pub quoted: Option<Sha256Digest>,
}

/// The log is not the history of the quoted PCRs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event log does not reproduce {} of the quoted PCRs", .0.len())]
pub struct ReplayError(pub Vec<Unexplained>);

impl ReplayError {
    /// One finding a PCR.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.0
            .iter()
            .map(|unexplained| {
                let finding = Finding::new("boot-log-replay-mismatch")
                    .about(format_args!("PCR {}", unexplained.pcr))
                    .expected(unexplained.replayed);
                match unexplained.quoted {
                    Some(value) => finding.observed(value),
                    None => finding,
                }
            })
            .collect()
    }
}

impl ReplayedLog {
    /// Replays `log` and compares each of [`BOOT_PCRS`] with the quote.
    pub fn verify(log: BootLog, quote: &VerifiedQuote) -> Result<Self, ReplayError> {
        let replayed = log.replay();
        let unexplained: Vec<Unexplained> = BOOT_PCRS
            .into_iter()
            .filter_map(|pcr| {
                let replayed = replayed.get(&pcr).copied().unwrap_or_default();
                let quoted = quote.values().value(pcr).copied();
                (quoted != Some(replayed)).then_some(Unexplained {
                    pcr,
                    replayed,
                    quoted,
                })
            })
            .collect();
        if !unexplained.is_empty() {
            return Err(ReplayError(unexplained));
        }
        Ok(Self {
            events: log.into_events(),
        })
    }

    /// The extended events in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Kernel command lines that GRUB measured, each recomputed from its digest, in order.
    pub fn kernel_command_lines(&self) -> impl Iterator<Item = &str> {
        self.events
            .iter()
            .filter(|event| event.pcr == 8)
            .filter_map(|event| event.proven_text())
            .filter_map(|(label, text)| (label == "kernel_cmdline").then_some(text))
    }

    /// Whether Secure Boot was on, by the measured variable; `None` when no proven event says.
    #[must_use]
    pub fn secure_boot(&self) -> Option<bool> {
        let mut seen = self
            .events
            .iter()
            .filter(|event| event.pcr == 7)
            .filter_map(Event::proven_secure_boot);
        let first = seen.next()?;
        seen.all(|other| other == first).then_some(first)
    }
}
