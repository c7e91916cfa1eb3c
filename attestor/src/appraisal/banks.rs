//! The PCR banks of a boot: proven with the boot log, once a boot, and remembered with it.

use touchstone_evidence::banks::{ActiveBanks, BanksError, ReplayedBanks};
use touchstone_evidence::boot_log::BootLog;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::quote::{Authentic, VerifiedQuote};
use touchstone_evidence::wire::{BankEvidence, SignedAttest};

/// The active banks, all of which lead from `log`: by what came with the log, or as an earlier round of
/// this boot proved it for the same log.
pub(super) fn prove(
    sent: Option<&BankEvidence>,
    remembered: Option<&str>,
    log: &BootLog,
    key: &AttestationKey,
    qualifying: &Sha256Digest,
    quote: &VerifiedQuote,
) -> Result<String, Vec<Finding>> {
    match (sent, remembered) {
        (Some(sent), _) => prove_sent(sent, log, key, qualifying, quote),
        (None, Some(banks)) => Ok(banks.to_owned()),
        (None, None) => Err(BanksError::Absent),
    }
    .map_err(|error| error.findings())
}

fn prove_sent(
    sent: &BankEvidence,
    log: &BootLog,
    key: &AttestationKey,
    qualifying: &Sha256Digest,
    quote: &VerifiedQuote,
) -> Result<String, BanksError> {
    let authentic = |signed: &SignedAttest, what| {
        Authentic::verify(signed, key, qualifying)
            .map_err(|why| BanksError::NotAuthentic { what, why })
    };
    let audit = authentic(&sent.audit, "audit of the PCR banks")?;
    let active = ActiveBanks::verify(&audit, &sent.capability, quote)?;
    let statement = authentic(&sent.quote, "quote of all PCR banks")?;
    let proven = ReplayedBanks::verify(&active, &statement, &sent.values, log, quote)?;
    let names: Vec<String> = proven.banks().iter().map(ToString::to_string).collect();
    Ok(names.join(","))
}
