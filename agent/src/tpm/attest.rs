//! One round of attestation: quote, certify the location index and the release key, read the PCRs.
//!
//! The commands are not atomic, so what they say is compared, and a round that an extend or a restart
//! split is done again. The comparison is for the host's own good: the attestor makes its own.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{
    Attest, AttestInfo, Data, PcrSelectionList, PcrSlot, Signature, SignatureScheme,
};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};

use super::error::during;
use super::esys::nv_certify;
use super::session::PASSWORD;
use super::visit::{Owner, Visit};
use super::{AkBlob, AttestRequest, Attestation, Error, Result, Signed};

/// Rounds begun before we give up. IMA extends PCR 10 at each first use of a file, which comes in bursts,
/// while a round lasts a few hundred milliseconds on real parts.
pub(super) const ATTEMPTS: usize = 8;

impl Owner {
    /// A round that hangs together.
    pub(super) fn attest(&mut self, ak: &AkBlob, request: &AttestRequest) -> Result<Attestation> {
        let slots = slots(&request.pcrs)?;
        for _ in 0..ATTEMPTS {
            if let Some(round) = self.round(ak, request, &slots)? {
                return Ok(round);
            }
        }
        Err(Error::Unsteady { attempts: ATTEMPTS })
    }

    /// One attempt; `None` if the state moved meanwhile.
    fn round(
        &mut self,
        ak: &AkBlob,
        request: &AttestRequest,
        slots: &[PcrSlot],
    ) -> Result<Option<Attestation>> {
        let mut visit = self.visit()?;
        let (statement, quote) = visit.quote(ak, &request.qualifying, slots)?;
        let mut later = Vec::new();
        let mut location = None;
        if let Some(area) = request.location {
            // The next command has a context of its own.
            drop(visit);
            let Some(saved) = self.saved.ak(ak) else {
                return Ok(None);
            };
            let signed = nv_certify(self.tcti(), saved, area, &request.qualifying)
                .map_err(during("TPM2_NV_Certify"))?;
            later.push(Attest::unmarshall(&signed.attest).map_err(during("TPM2_NV_Certify"))?);
            location = Some(signed);
            visit = self.visit()?;
        }
        let mut release_key = None;
        if let Some(public) = &request.release_key {
            let (attest, signed) = visit.certify_release_key(ak, public, &request.qualifying)?;
            later.push(attest);
            release_key = Some(signed);
        }
        let pcr_values = visit.read_pcrs(slots)?;
        let steady = covers(&statement, &pcr_values)
            && later.iter().all(|second| same_boot(&statement, second));
        Ok(steady.then_some(Attestation {
            quote,
            location,
            release_key,
            pcr_values,
        }))
    }
}

impl Visit<'_> {
    /// The quote, as read and as bytes. The AK is flushed before this returns.
    fn quote(
        &mut self,
        ak: &AkBlob,
        qualifying: &[u8; 32],
        slots: &[PcrSlot],
    ) -> Result<(Attest, Signed)> {
        let ak = self.ak(ak)?;
        let (attest, signature) = self
            .context
            .execute_with_session(PASSWORD, |context| {
                let qualifying = Data::try_from(qualifying.as_slice())?;
                context.quote(ak, qualifying, SignatureScheme::Null, selection(slots)?)
            })
            .map_err(during("TPM2_Quote"))?;
        self.flush(ak.into())?;
        let signed = marshalled(&attest, &signature).map_err(during("TPM2_Quote"))?;
        Ok((attest, signed))
    }

    /// The values, by ascending index. `TPM2_PCR_Read` gives at most eight at a time (Part 3 §22.4).
    fn read_pcrs(&mut self, slots: &[PcrSlot]) -> Result<Vec<[u8; 32]>> {
        let mut values = BTreeMap::new();
        let mut left = slots.to_vec();
        while !left.is_empty() {
            let (_, answered, digests) = self
                .context
                .execute_without_session(|context| context.pcr_read(selection(&left)?))
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
                let digest = digest.value().try_into().map_err(|_| Error::NoBank)?;
                values.insert(*slot, digest);
            }
            left.retain(|slot| !answered.contains(slot));
        }
        Ok(values.into_values().collect())
    }
}

/// A statement as bytes.
pub(super) fn marshalled(attest: &Attest, signature: &Signature) -> tss_esapi::Result<Signed> {
    Ok(Signed {
        attest: attest.marshall()?,
        signature: signature.marshall()?,
    })
}

/// PCR indices as a selection, ascending.
fn slots(pcrs: &[u8]) -> Result<Vec<PcrSlot>> {
    let refused = || Error::Selection(pcrs.to_vec());
    let mut slots = pcrs
        .iter()
        .map(|pcr| match *pcr {
            pcr @ 0..=23 => PcrSlot::try_from(1 << pcr).map_err(|_| refused()),
            _ => Err(refused()),
        })
        .collect::<Result<Vec<_>>>()?;
    slots.sort_unstable();
    slots.dedup();
    if slots.is_empty() || slots.len() != pcrs.len() {
        return Err(refused());
    }
    Ok(slots)
}

/// One bank, SHA-256, in three bytes: what the attestor expects to see signed.
fn selection(slots: &[PcrSlot]) -> tss_esapi::Result<PcrSelectionList> {
    PcrSelectionList::builder()
        .with_selection(HashingAlgorithm::Sha256, slots)
        .build()
}

/// Whether the values are those quoted: pcrDigest is the hash of all of them, by the AK's SHA-256
/// (TPM 2.0 Part 2 §10.12.1).
fn covers(quote: &Attest, values: &[[u8; 32]]) -> bool {
    match quote.attested() {
        AttestInfo::Quote { info } => {
            info.pcr_digest().value() == Sha256::digest(values.as_flattened()).as_slice()
        }
        _ => false,
    }
}

/// Whether `second` was said by the same key in the same boot, not before `first`.
fn same_boot(first: &Attest, second: &Attest) -> bool {
    let (a, b) = (first.clock_info(), second.clock_info());
    a.reset_count() == b.reset_count()
        && a.restart_count() == b.restart_count()
        && a.clock() <= b.clock()
        && first.firmware_version() == second.firmware_version()
        && first.qualified_signer() == second.qualified_signer()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn only_different_indices_up_to_23_are_a_selection() {
        assert_eq!(
            slots(&[7, 0, 23]).unwrap(),
            [PcrSlot::Slot0, PcrSlot::Slot7, PcrSlot::Slot23]
        );
        for refused in [vec![], vec![24], vec![255], vec![1, 1]] {
            assert!(matches!(slots(&refused), Err(Error::Selection(_))));
        }
    }
}
