//! The fold of a log's digests into PCR values, and the proof that they are those of the quote.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bank::{Bank, BankDigest};
use super::command_line::{self, CommandLine};
use super::order::{Disorder, ExitBootServices};
use super::untouched::Untouched;
use super::variable::SecureBootPolicy;
use super::{BOOT_PCRS, BootLog, Event};
use crate::digest::Sha256Digest;
use crate::finding::Finding;
use crate::quote::VerifiedQuote;

/// Code of the finding that breaches of order follow from.
const MISMATCH: &str = "boot-log-replay-mismatch";

impl BootLog {
    /// What the digests of one bank make of each PCR that has events, and of PCR 0; `None` if the log
    /// has no such bank or its algorithm is not computed here. Events without a digest of the bank do
    /// not count: see [`BootLog::lacking`].
    #[must_use]
    pub fn replay(&self, bank: Bank) -> Option<BTreeMap<u8, BankDigest>> {
        if !self.banks().contains(&bank) {
            return None;
        }
        let mut values = BTreeMap::from([(0, bank.start(self.startup_locality())?)]);
        let start = bank.start(0)?;
        for event in &self.events {
            let value = values.entry(event.pcr).or_insert(start);
            if let Some(digest) = event.digest(bank) {
                *value = value.extend(digest)?;
            }
        }
        Some(values)
    }

    /// Number of the first event without a digest of `bank`. PFP §10.2.2 allows none; the boot manager
    /// of Windows leaves out SHA-1.
    #[must_use]
    pub fn lacking(&self, bank: Bank) -> Option<usize> {
        let lacks = |event: &&Event| event.digest(bank).is_none();
        self.events.iter().find(lacks).map(|event| event.number)
    }
}

/// A log whose SHA-256 digests reproduce the quoted PCRs, in the order that firmware measures.
#[derive(Clone, Debug)]
pub struct ReplayedLog {
    log: Arc<BootLog>,
    command_lines: Vec<CommandLine>,
}

/// All of a quote that replay looks at: with the same log and the same of these, it comes to the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuotedBoot([Option<Sha256Digest>; BOOT_PCRS.len()]);

impl QuotedBoot {
    /// The quoted values of [`BOOT_PCRS`], among which are those of the firmware.
    #[must_use]
    pub fn of(quote: &VerifiedQuote) -> Self {
        Self(BOOT_PCRS.map(|pcr| quote.values().value(pcr).copied()))
    }
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

impl Unexplained {
    fn finding(&self) -> Finding {
        let finding = Finding::new(MISMATCH)
            .about(format_args!("PCR {}", self.pcr))
            .expected(self.replayed);
        match self.quoted {
            Some(value) => finding.observed(value),
            None => finding,
        }
    }
}

/// The log is not the history of the quoted PCRs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The quote is of the SHA-256 bank, and the log's Spec ID has none.
    #[error("the log has no SHA-256 digests")]
    BankMissing,
    /// An event has digests of other banks only.
    #[error("event {0} has no SHA-256 digest")]
    DigestMissing(usize),
    /// The firmware measured nothing into the quoted bank.
    #[error(transparent)]
    Untouched(#[from] Untouched),
    /// Values that do not come out, or events that no firmware measures so.
    #[error(
        "the event log does not reproduce {} of the quoted PCRs and has {} events out of order",
        unexplained.len(),
        disorder.len()
    )]
    NotTheHistory {
        /// PCRs with another value, ascending.
        unexplained: Vec<Unexplained>,
        /// Breaches of the order of events.
        disorder: Vec<Disorder>,
    },
}

impl ReplayError {
    /// One finding a PCR, then one a breach of order: of a PCR that does not come out, it follows from
    /// that, since then the log is not what happened.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let (unexplained, disorder) = match self {
            Self::BankMissing => return vec![Finding::new("boot-log-bank-missing").observed(self)],
            Self::Untouched(untouched) => return vec![untouched.finding()],
            Self::DigestMissing(_) => {
                return vec![Finding::new("boot-log-digests-malformed").observed(self)];
            }
            Self::NotTheHistory {
                unexplained,
                disorder,
            } => (unexplained, disorder),
        };
        let mut findings: Vec<Finding> = unexplained.iter().map(Unexplained::finding).collect();
        findings.extend(disorder.iter().map(|breach| {
            let explained = unexplained.iter().any(|other| other.pcr == breach.pcr());
            match explained {
                true => breach.finding().because_of(MISMATCH),
                false => breach.finding(),
            }
        }));
        findings
    }
}

impl ReplayedLog {
    /// Replays `log`, compares each of [`BOOT_PCRS`] with the quote, and demands the order of events
    /// that [`BootLog::disorder`] checks.
    ///
    /// # Errors
    /// All that is wrong, not only the first.
    pub fn verify(
        log: impl Into<Arc<BootLog>>,
        quote: &VerifiedQuote,
    ) -> Result<Self, ReplayError> {
        let log = log.into();
        if let Some(untouched) = Untouched::of(quote.values()) {
            return Err(untouched.into());
        }
        let replayed = log.replay(Bank::Sha256).ok_or(ReplayError::BankMissing)?;
        if let Some(event) = log.lacking(Bank::Sha256) {
            return Err(ReplayError::DigestMissing(event));
        }
        let unexplained: Vec<Unexplained> = BOOT_PCRS
            .into_iter()
            .filter_map(|pcr| {
                let replayed = replayed.get(&pcr).and_then(BankDigest::sha256);
                let replayed = replayed.unwrap_or_default();
                let quoted = quote.values().value(pcr).copied();
                (quoted != Some(replayed)).then_some(Unexplained {
                    pcr,
                    replayed,
                    quoted,
                })
            })
            .collect();
        let disorder = log.disorder(Bank::Sha256);
        if !unexplained.is_empty() || !disorder.is_empty() {
            return Err(ReplayError::NotTheHistory {
                unexplained,
                disorder,
            });
        }
        Ok(Self {
            command_lines: command_line::find(log.events(), Bank::Sha256),
            log,
        })
    }

    /// The extended events in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        self.log.events()
    }

    /// The locality that PCR 0 started from: proven, since PCR 0 comes out only with the right one.
    #[must_use]
    pub fn startup_locality(&self) -> u8 {
        self.log.startup_locality()
    }

    /// Kernel command lines whose text the log holds and proves, in order: of GRUB, and of
    /// systemd-boot or systemd-stub.
    pub fn kernel_command_lines(&self) -> impl Iterator<Item = &str> {
        self.command_lines.iter().filter_map(CommandLine::text)
    }

    /// Every measurement of a kernel command line, in order, also those of which the log holds only
    /// the digest: compare them with a known text by [`CommandLine::is`].
    #[must_use]
    pub fn command_lines(&self) -> &[CommandLine] {
        &self.command_lines
    }

    /// Whether Secure Boot was on, by the measured variable; `None` when no proven event says.
    #[must_use]
    pub fn secure_boot(&self) -> Option<bool> {
        self.secure_boot_policy().secure_boot
    }

    /// What the measured variables say about Secure Boot.
    #[must_use]
    pub fn secure_boot_policy(&self) -> SecureBootPolicy {
        SecureBootPolicy::of(self.events(), Bank::Sha256)
    }

    /// How the firmware handed over to the operating system.
    #[must_use]
    pub fn exit_boot_services(&self) -> ExitBootServices {
        ExitBootServices::of(self.events(), Bank::Sha256)
    }
}
