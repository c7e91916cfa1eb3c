//! All PCR banks: which are active, by the TPM's signed word, and what the boot left in each of them.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use touchstone_evidence::boot_log::BOOT_PCRS;
use touchstone_evidence::tpm::attest::{Attest, Attested};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{PcrSelectionList, PcrSlot};

use super::attest::ATTEMPTS;
use super::error::during;
use super::esys::{self, audit_banks};
use super::visit::{Owner, Visit};
use super::{AkBlob, BankAttestation, Error, Result};

/// Banks whose digests an attestor replays, by `TPM_ALG_ID`.
const KNOWN: [(u16, HashingAlgorithm); 4] = [
    (0x0004, HashingAlgorithm::Sha1),
    (0x000b, HashingAlgorithm::Sha256),
    (0x000c, HashingAlgorithm::Sha384),
    (0x000d, HashingAlgorithm::Sha512),
];

impl Owner {
    /// Banks and values that hang together.
    pub(super) fn banks(&mut self, ak: &AkBlob, qualifying: &[u8; 32]) -> Result<BankAttestation> {
        for _ in 0..ATTEMPTS {
            let banks = self.audit(ak, qualifying)?;
            let values = self.visit()?.read_banks(&banks.quoted)?;
            if covers(&banks.quote.attest, &values) {
                return Ok(BankAttestation {
                    capability: banks.capability,
                    audit: banks.audit,
                    quote: banks.quote,
                    values,
                });
            }
        }
        Err(Error::Unsteady { attempts: ATTEMPTS })
    }

    fn audit(&mut self, ak: &AkBlob, qualifying: &[u8; 32]) -> Result<esys::Banks> {
        let mut visit = self.visit()?;
        // Loading saves the key for the context that comes.
        let loaded = visit.ak(ak)?;
        visit.flush(loaded.into())?;
        let saved = visit.saved.ak(ak).ok_or(Error::Gone)?;
        drop(visit);
        let known = KNOWN.map(|(id, _)| id);
        let pcrs = BOOT_PCRS.iter().fold(0, |bits, pcr| bits | (1u32 << pcr));
        audit_banks(self.tcti(), saved, &known, pcrs, qualifying)
            .map_err(during("TPM2_GetSessionAuditDigest"))
    }
}

impl Visit<'_> {
    /// The values of [`BOOT_PCRS`] of each bank, one after the other.
    fn read_banks(&mut self, banks: &[u16]) -> Result<Vec<u8>> {
        let mut values = Vec::new();
        for bank in banks {
            let (_, algorithm) = KNOWN
                .into_iter()
                .find(|(id, _)| id == bank)
                .ok_or(Error::NoBank)?;
            values.extend(self.read_bank(algorithm)?);
        }
        Ok(values)
    }

    /// `TPM2_PCR_Read` gives at most eight values at a time (Part 3 §22.4).
    fn read_bank(&mut self, bank: HashingAlgorithm) -> Result<Vec<u8>> {
        let mut values = BTreeMap::new();
        let mut left = BOOT_PCRS
            .iter()
            .map(|pcr| PcrSlot::try_from(1u32 << pcr))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(during("TPM2_PCR_Read"))?;
        while !left.is_empty() {
            let (_, answered, digests) = self
                .context
                .execute_without_session(|context| {
                    let selection = PcrSelectionList::builder()
                        .with_selection(bank, &left)
                        .build()?;
                    context.pcr_read(selection)
                })
                .map_err(during("TPM2_PCR_Read"))?;
            let answered: Vec<PcrSlot> = answered
                .get_selections()
                .iter()
                .flat_map(|bank| bank.selected())
                .collect();
            if answered.is_empty() || answered.len() != digests.len() {
                return Err(Error::NoBank);
            }
            for (slot, digest) in answered.iter().zip(digests.value()) {
                values.insert(*slot, digest.value().to_vec());
            }
            left.retain(|slot| !answered.contains(slot));
        }
        Ok(values.into_values().flatten().collect())
    }
}

/// Whether the values are those quoted, by the AK's SHA-256.
fn covers(quote: &[u8], values: &[u8]) -> bool {
    matches!(
        Attest::parse(quote).map(|attest| attest.attested),
        Ok(Attested::Quote { digest, .. }) if digest == Sha256::digest(values).as_slice()
    )
}
