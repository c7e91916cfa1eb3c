//! Which PCR banks a TPM has, by its own signed word, and that the boot log leads to all of them.
//!
//! A bank that the firmware left untouched proves nothing: whoever runs the machine later can extend it
//! to any known-good values, and write a log to match. So the log must be of exactly the active banks,
//! and must lead to the quoted values in each of them (TPM 2.0 Part 1 §17.1; PFP §10.2.2).
//!
//! Not established here: that an event means the same in each bank where its data need not prove it, such
//! as a program, whose digest is of a file. A bank that the firmware did not extend can be filled with
//! known-good digests of such events, beside the true ones of another bank, in one log. That the firmware
//! extends every active bank is its own duty (PFP §3.2.1); with SHA-256 alone active there is no such choice.

mod audit;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::boot_log::{BOOT_PCRS, Bank, BankDigest, BootLog, Event, kind};
use crate::finding::Finding;
use crate::pcr::PcrSelection;
use crate::quote::{Authentic, Discontinuity, NotAuthentic, VerifiedQuote};
use crate::tpm::attest::Attested;
use crate::tpm::reader::TpmFormatError;

pub use audit::ActiveBanks;

/// What the findings here call the two statements.
const AUDIT: &str = "audit of the PCR banks";
const QUOTE: &str = "quote of all PCR banks";

/// Why the banks are not proven, or not all explained by the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BanksError {
    /// The log came without them.
    #[error("nothing shows which PCR banks are active")]
    Absent,
    /// Audit or quote is not of this TPM for this round.
    #[error("{what} is not of this TPM for this round: {why}")]
    NotAuthentic {
        /// Which statement.
        what: &'static str,
        /// Why.
        why: NotAuthentic,
    },
    /// Audit or quote is of another round.
    #[error("{what} and the quote are not of one round: {why}")]
    OtherRound {
        /// Which statement.
        what: &'static str,
        /// Why.
        why: Discontinuity,
    },
    /// The signed structure is no session audit.
    #[error("the statement on the PCR banks is no session audit")]
    NotAnAudit,
    /// The audited session carried something else than the one question and this answer.
    #[error("the list of PCR banks is not the one that the TPM signed")]
    OtherAnswer,
    /// The answer is no `TPMS_CAPABILITY_DATA` of PCR banks.
    #[error("the list of PCR banks is malformed: {0}")]
    Malformed(TpmFormatError),
    /// Only some of a bank's boot PCRs exist.
    #[error("the bank {0} lacks some of the PCRs that a boot extends")]
    Partial(Bank),
    /// An active bank whose hash is not computed here, so that nothing can be said about it.
    #[error("the bank {0} is active and cannot be replayed")]
    Unknown(Bank),
    /// The signed structure is no quote.
    #[error("the statement on the values of all PCR banks is no quote")]
    NotAQuote,
    /// Other banks or PCRs than the boot PCRs of all active banks.
    #[error("the quote of all PCR banks is not of the boot PCRs of each active bank")]
    Selection,
    /// Too few or too many bytes.
    #[error("the reported values are not those of all active PCR banks")]
    Values,
    /// The values do not hash to the quoted digest.
    #[error("the reported values of all PCR banks are not those that were quoted")]
    Digest,
    /// The log declares other banks.
    #[error(
        "the boot log is of the banks {}, and active are {}",
        names(log),
        names(active)
    )]
    OtherBanks {
        /// As its Spec ID declares.
        log: Vec<Bank>,
        /// As the TPM says.
        active: Vec<Bank>,
    },
    /// An event without a digest of an active bank.
    #[error("event {event} has no {bank} digest")]
    Lacking {
        /// The bank.
        bank: Bank,
        /// Position in the log.
        event: usize,
    },
    /// PCRs that the log does not lead to.
    #[error("the boot log does not lead to {} values of all PCR banks", .0.len())]
    Unexplained(Vec<Unexplained>),
    /// The digest of one bank is that of the event's data, and the digest of another is not.
    #[error("event {event} is of its data in the bank {proven} and of something else in {other}")]
    Disagreement {
        /// Position in the log.
        event: usize,
        /// Where the digest is that of the data.
        proven: Bank,
        /// Where it is not.
        other: Bank,
    },
    /// Several banks are active, and the digests of an event are of its data in none, where they must be.
    #[error("event {event} of PCR {pcr} is not of its data in any bank")]
    Unproven {
        /// Position in the log.
        event: usize,
        /// Its PCR.
        pcr: u8,
    },
}

/// A PCR of a bank with another value than the log leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    bank: Bank,
    pcr: u8,
    replayed: BankDigest,
    quoted: BankDigest,
}

impl BanksError {
    /// The error as findings; more than one where several PCRs differ.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        match self {
            Self::Unexplained(differences) => {
                differences.iter().map(Unexplained::finding).collect()
            }
            other => vec![other.finding()],
        }
    }

    fn finding(&self) -> Finding {
        let code = match self {
            Self::Absent => "pcr-banks-absent",
            Self::NotAuthentic { what, why } => {
                return Finding::new("pcr-banks-not-authentic")
                    .about(what)
                    .observed(why.code());
            }
            Self::OtherRound { what, why } => return why.finding(what),
            Self::NotAnAudit => "pcr-banks-not-audited",
            Self::OtherAnswer => "pcr-banks-audit-mismatch",
            Self::Malformed(_) => "pcr-banks-malformed",
            Self::Partial(_) => "pcr-bank-partial",
            Self::Unknown(_) => "pcr-bank-unknown",
            Self::NotAQuote => "pcr-banks-not-quoted",
            Self::Selection => "pcr-banks-selection-mismatch",
            Self::Values => "pcr-banks-values-incomplete",
            Self::Digest => "pcr-banks-digest-mismatch",
            Self::OtherBanks { log, active } => {
                return Finding::new("boot-log-banks-not-active")
                    .expected(names(active))
                    .observed(names(log));
            }
            Self::Lacking { .. } => "boot-log-bank-digest-missing",
            Self::Unexplained(_) => "boot-log-bank-replay-mismatch",
            Self::Disagreement { .. } => "boot-log-banks-disagree",
            Self::Unproven { .. } => "boot-log-event-unproven",
        };
        Finding::new(code).observed(self)
    }
}

impl Unexplained {
    fn finding(&self) -> Finding {
        Finding::new("boot-log-bank-replay-mismatch")
            .about(format_args!("PCR {} of {}", self.pcr, self.bank))
            .expected(self.replayed)
            .observed(self.quoted)
    }
}

fn names(banks: &[Bank]) -> String {
    let names: Vec<String> = banks.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// A log that is of exactly the active banks and leads to the quoted values in each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedBanks {
    banks: Vec<Bank>,
}

impl ReplayedBanks {
    /// Verifies that `statement` quotes [`BOOT_PCRS`] of every active bank, in the round of `quote`, and
    /// that `log` is the history of all of them. `values` are the quoted ones, one after the other in the
    /// order of the signed selection.
    pub fn verify(
        active: &ActiveBanks,
        statement: &Authentic,
        values: &[u8],
        log: &BootLog,
        quote: &VerifiedQuote,
    ) -> Result<Self, BanksError> {
        let quoted = quoted_values(active, statement, values)?;
        statement
            .continues(quote)
            .map_err(|why| BanksError::OtherRound { what: QUOTE, why })?;
        let mut declared = log.banks().to_vec();
        declared.sort_unstable();
        if declared != active.banks() {
            return Err(BanksError::OtherBanks {
                log: declared,
                active: active.banks().to_vec(),
            });
        }
        for bank in active.banks() {
            if let Some(event) = log.lacking(*bank) {
                return Err(BanksError::Lacking { bank: *bank, event });
            }
        }
        let unexplained = unexplained(log, &quoted)?;
        if !unexplained.is_empty() {
            return Err(BanksError::Unexplained(unexplained));
        }
        agree(log, active.banks())?;
        Ok(Self {
            banks: active.banks().to_vec(),
        })
    }

    /// The active banks, ascending by algorithm.
    #[must_use]
    pub fn banks(&self) -> &[Bank] {
        &self.banks
    }
}

type Values = BTreeMap<Bank, BTreeMap<u8, BankDigest>>;

/// The values by bank and PCR, once they are those that were quoted.
fn quoted_values(
    active: &ActiveBanks,
    statement: &Authentic,
    values: &[u8],
) -> Result<Values, BanksError> {
    let Attested::Quote { selection, digest } = statement.attested() else {
        return Err(BanksError::NotAQuote);
    };
    let boot = PcrSelection::try_from(BOOT_PCRS.to_vec()).map_err(|_| BanksError::Selection)?;
    let mut banks: Vec<Bank> = selection.iter().map(|one| one.bank).collect();
    banks.sort_unstable();
    if banks != active.banks() || selection.iter().any(|one| one.pcrs != boot) {
        return Err(BanksError::Selection);
    }
    if *digest != statement.hash().digest(&[values]) {
        return Err(BanksError::Digest);
    }
    let mut quoted = Values::new();
    let mut rest = values;
    for bank in selection.iter().map(|one| one.bank) {
        let size = bank.digest_size().ok_or(BanksError::Unknown(bank))?;
        let of_bank = quoted.entry(bank).or_default();
        for pcr in BOOT_PCRS {
            let (value, after) = rest.split_at_checked(size).ok_or(BanksError::Values)?;
            rest = after;
            of_bank.insert(pcr, BankDigest::new(bank, value).ok_or(BanksError::Values)?);
        }
    }
    match rest {
        [] => Ok(quoted),
        _ => Err(BanksError::Values),
    }
}

fn unexplained(log: &BootLog, quoted: &Values) -> Result<Vec<Unexplained>, BanksError> {
    let mut differences = Vec::new();
    for (bank, values) in quoted {
        let replayed = log.replay(*bank).ok_or(BanksError::Unknown(*bank))?;
        let untouched = bank.start(0).ok_or(BanksError::Unknown(*bank))?;
        for (pcr, quoted) in values {
            let replayed = replayed.get(pcr).copied().unwrap_or(untouched);
            if replayed != *quoted {
                differences.push(Unexplained {
                    bank: *bank,
                    pcr: *pcr,
                    replayed,
                    quoted: *quoted,
                });
            }
        }
    }
    Ok(differences)
}

/// An event that is of its data in one bank is so in all: else one of the banks tells another boot. With
/// several banks it must be so where nothing but the data is measured: else each bank could tell its own.
fn agree(log: &BootLog, banks: &[Bank]) -> Result<(), BanksError> {
    for event in log.events() {
        let of_data = |bank: &&Bank| event.proven_content(**bank).is_some();
        let proven = banks.iter().find(of_data);
        let other = banks.iter().find(|bank| !of_data(bank));
        if let (Some(proven), Some(other)) = (proven, other) {
            return Err(BanksError::Disagreement {
                event: event.number,
                proven: *proven,
                other: *other,
            });
        }
        if proven.is_none() && banks.len() > 1 && measures_data(event) {
            return Err(BanksError::Unproven {
                event: event.number,
                pcr: event.pcr,
            });
        }
    }
    Ok(())
}

/// Whether the digests of the event are of its data (PFP table 27): by its type, or in a PCR that has no other
/// events, where another type would only hide that: variables of Secure Boot in PCR 7, what GRUB runs in PCR 8.
fn measures_data(event: &Event) -> bool {
    matches!(event.pcr, 7 | 8)
        || matches!(
            event.untrusted_kind,
            kind::SEPARATOR
                | kind::ACTION
                | kind::S_CRTM_VERSION
                | kind::EFI_ACTION
                | kind::EFI_VARIABLE_DRIVER_CONFIG
                | kind::EFI_VARIABLE_BOOT
                | kind::EFI_VARIABLE_BOOT2
                | kind::EFI_GPT_EVENT
                | kind::EFI_GPT_EVENT2
        )
}
