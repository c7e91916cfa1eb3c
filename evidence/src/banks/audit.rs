//! The TPM's answer to which PCR banks are allocated, proven by a session audit.
//!
//! `TPM2_GetCapability` is not signed. A session that carries it as an audit session remembers a digest of
//! the command and of the answer, and `TPM2_GetSessionAuditDigest` signs that digest (TPM 2.0 Part 1 §34,
//! Part 3 §18.5). A session does not outlive a TPM Reset, and banks are allocated anew only at one (Part 3
//! §22.5), so the answer is of the boot of the signature.

use super::{AUDIT, BanksError};
use crate::boot_log::{BOOT_PCRS, Bank};
use crate::pcr::BankSelection;
use crate::quote::{Authentic, VerifiedQuote};
use crate::tpm::attest::Attested;
use crate::tpm::hash::Hash;
use crate::tpm::reader::{Reader, TpmFormatError};

/// `TPM_CC_GetCapability` (Part 2 §6.5.2).
const CC_GET_CAPABILITY: u32 = 0x0000_017a;
/// `TPM_CAP_PCRS` (Part 2 §6.12).
const CAP_PCRS: u32 = 5;
/// `propertyCount` of the question: more banks than there are hash algorithms.
const PROPERTY_COUNT: u32 = 16;

/// The banks that are active in this boot of the TPM, ascending by algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveBanks {
    banks: Vec<Bank>,
}

impl ActiveBanks {
    /// Verifies that `statement` audits the one question for the banks with `capability` as its whole
    /// answer (`TPMS_CAPABILITY_DATA`, Part 2 §10.10.2), in the round of `quote`.
    ///
    /// # Errors
    /// Also where a bank is active of which nothing can be said: of an unknown hash, or in part.
    pub fn verify(
        statement: &Authentic,
        capability: &[u8],
        quote: &VerifiedQuote,
    ) -> Result<Self, BanksError> {
        let Attested::SessionAudit { digest, .. } = statement.attested() else {
            return Err(BanksError::NotAnAudit);
        };
        statement
            .continues(quote)
            .map_err(|why| BanksError::OtherRound { what: AUDIT, why })?;
        if *digest != audit_digest(capability) {
            return Err(BanksError::OtherAnswer);
        }
        let allocated = parse(capability).map_err(BanksError::Malformed)?;
        let mut banks = Vec::new();
        for one in allocated.iter().filter(|one| !one.pcrs.is_empty()) {
            if !BOOT_PCRS.iter().all(|pcr| one.pcrs.contains(*pcr)) {
                return Err(BanksError::Partial(one.bank));
            }
            if one.bank.hash(&[]).is_none() {
                return Err(BanksError::Unknown(one.bank));
            }
            banks.push(one.bank);
        }
        banks.sort_unstable();
        Ok(Self { banks })
    }

    /// The banks.
    #[must_use]
    pub fn banks(&self) -> &[Bank] {
        &self.banks
    }
}

/// The digest that a new SHA-256 session holds once it carried the question and the answer: zeros
/// extended by cpHash and rpHash (Part 1 §34.3, §18.7, §18.8).
fn audit_digest(capability: &[u8]) -> Vec<u8> {
    let hash = Hash::Sha256;
    let code = CC_GET_CAPABILITY.to_be_bytes();
    let command = hash.digest(&[
        &code,
        &CAP_PCRS.to_be_bytes(),
        &0u32.to_be_bytes(),
        &PROPERTY_COUNT.to_be_bytes(),
    ]);
    // TPM_RC_SUCCESS, the command, moreData = NO.
    let answer = hash.digest(&[&[0; 4], &code, &[0], capability]);
    hash.digest(&[&[0; 32], &command, &answer])
}

fn parse(capability: &[u8]) -> Result<Vec<BankSelection>, TpmFormatError> {
    let mut reader = Reader::new(capability);
    if reader.u32()? != CAP_PCRS {
        return Err(TpmFormatError::Unknown("capability"));
    }
    let banks = BankSelection::read_list(&mut reader)?;
    reader.finish()?;
    Ok(banks)
}

/// What a TPM in software signs.
#[cfg(test)]
pub(super) fn audit_digest_for_tests(capability: &[u8]) -> Vec<u8> {
    audit_digest(capability)
}
