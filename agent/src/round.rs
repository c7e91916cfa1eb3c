//! What a host does for one challenge: carry the tag, quote, read the PCRs, then read the logs.

use std::path::Path;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::pcr::PcrValues;
use touchstone_evidence::qualifying::QualifyingData;
use touchstone_evidence::wire::{Challenge, Evidence, RuntimePart, SignedAttest};

use crate::attest::Error;
use crate::boot;
use crate::runtime_list;
use crate::tpm::{self, AkBlob, AttestRequest, Attestation, LOCATION_INDEX, NvArea, Signed, Tpm};

/// What a round speaks for, and where it looks.
pub(crate) struct Subject<'a> {
    pub(crate) tpm: &'a Tpm,
    pub(crate) ak: &'a AkBlob,
    pub(crate) host: &'a HostId,
    pub(crate) tls_key: &'a Sha256Digest,
    pub(crate) boot_log: &'a Path,
    pub(crate) ima_list: &'a Path,
    pub(crate) boot_id: &'a Path,
}

/// Evidence, and the boot log that it may have to carry after all.
pub(crate) struct Gathered {
    pub(crate) evidence: Evidence,
    pub(crate) boot_log: Vec<u8>,
}

impl Subject<'_> {
    /// Evidence for `challenge`; with the boot log unless the attestor says that it knows it.
    pub(crate) async fn answer(&self, challenge: &Challenge) -> Result<Gathered, Error> {
        let nonce: &[u8; 32] = challenge
            .nonce
            .as_ref()
            .try_into()
            .map_err(|_| Error::Nonce(challenge.nonce.len()))?;
        let boot_id = boot::boot_id(self.boot_id)?;
        let tag = self.carry(challenge.location_tag.as_deref()).await?;
        let qualifying = QualifyingData {
            nonce,
            host: self.host,
            boot_id: &boot_id,
            location_tag: tag.as_deref().map(Sha256Digest::of),
            release_key: None,
            tls_key: self.tls_key,
            node_token: None,
        };
        let request = AttestRequest {
            qualifying: qualifying.digest().0,
            pcrs: challenge.pcrs.indices().collect(),
            location: tag.as_deref().and_then(area),
        };
        let attestation = self.tpm.attest(self.ak, request).await?;
        // After the quote: a log read later contains all that was quoted.
        let boot_log = boot::boot_log(self.boot_log)?;
        let wanted = runtime_list::wanted(challenge.runtime.as_ref(), &attestation.quote.attest);
        let runtime = runtime_list::part(self.ima_list, wanted)?;
        Ok(Gathered {
            evidence: evidence(challenge, boot_id, attestation, &boot_log, runtime),
            boot_log,
        })
    }

    /// The tag that the TPM carries, once it has been given the one it should. A tag that cannot be
    /// written is no reason to be silent about the rest: the attestor judges what is carried.
    async fn carry(&self, wanted: Option<&[u8]>) -> Result<Option<Vec<u8>>, tpm::Error> {
        let carried = self.tpm.location_tag().await;
        let Some(wanted) = wanted else {
            return carried;
        };
        if matches!(&carried, Ok(Some(tag)) if tag == wanted) {
            return carried;
        }
        match self.tpm.write_location_tag(wanted).await {
            Ok(()) => {
                tracing::info!(host.id = %self.host, "the TPM carries a new location tag");
                Ok(Some(wanted.to_vec()))
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(host.id = %self.host, error, "the TPM does not take its location tag");
                carried
            }
        }
    }
}

impl Gathered {
    /// Where the runtime list goes on after the part that is in, if it does.
    pub(crate) fn goes_on_at(&self) -> Option<u64> {
        let part = self.evidence.runtime.as_ref().filter(|part| part.more)?;
        let length = u64::try_from(part.entries.len()).ok()?;
        part.offset.checked_add(length)
    }

    /// Puts the log in, if it was left out; false if it is in already.
    pub(crate) fn add_boot_log(&mut self) -> bool {
        if self.evidence.boot_log.is_some() {
            return false;
        }
        self.evidence.boot_log = Some(std::mem::take(&mut self.boot_log).into());
        true
    }
}

/// The whole location index. A size that no index has is not certified.
fn area(tag: &[u8]) -> Option<NvArea> {
    Some(NvArea {
        index: LOCATION_INDEX,
        size: u16::try_from(tag.len()).ok()?,
    })
}

fn evidence(
    challenge: &Challenge,
    boot_id: [u8; 16],
    attestation: Attestation,
    boot_log: &[u8],
    runtime: Option<RuntimePart>,
) -> Evidence {
    let values = attestation.pcr_values.into_iter().map(Sha256Digest);
    let boot_log_digest = Sha256Digest::of(boot_log);
    let known = challenge.known_boot_log == Some(boot_log_digest);
    Evidence {
        nonce: challenge.nonce.clone(),
        boot_id: boot_id.to_vec().into(),
        quote: signed(attestation.quote),
        pcrs: PcrValues(challenge.pcrs.indices().zip(values).collect()),
        boot_log_digest,
        boot_log: (!known).then(|| boot_log.to_vec().into()),
        runtime,
        location: attestation.location.map(signed),
    }
}

fn signed(statement: Signed) -> SignedAttest {
    SignedAttest {
        attest: statement.attest.into(),
        signature: statement.signature.into(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use touchstone_evidence::pcr::PcrSelection;

    fn gathered(known: Option<Sha256Digest>) -> Gathered {
        let challenge = Challenge {
            nonce: vec![7; 32].into(),
            pcrs: PcrSelection::try_from(vec![14, 4]).unwrap(),
            expires_at: 1,
            known_boot_log: known,
            runtime: None,
            location_tag: None,
        };
        let quote = Signed {
            attest: vec![1],
            signature: vec![2],
        };
        let attestation = Attestation {
            quote,
            location: None,
            pcr_values: vec![[4; 32], [14; 32]],
        };
        Gathered {
            evidence: evidence(&challenge, [3; 16], attestation, b"log", None),
            boot_log: b"log".to_vec(),
        }
    }

    #[test]
    fn a_log_that_is_known_is_named_and_not_sent() {
        let digest = Sha256Digest::of(b"log");
        for known in [None, Some(Sha256Digest::ZERO)] {
            let mut sent = gathered(known);
            assert_eq!(sent.evidence.boot_log.as_deref(), Some(&b"log"[..]));
            assert!(!sent.add_boot_log());
        }
        let mut named = gathered(Some(digest));
        assert_eq!(
            (&named.evidence.boot_log, named.evidence.boot_log_digest),
            (&None, digest)
        );
        assert!(named.add_boot_log());
        assert_eq!(named.evidence.boot_log.as_deref(), Some(&b"log"[..]));
    }

    #[test]
    fn values_stand_beside_their_registers() {
        let pcrs = gathered(None).evidence.pcrs;
        assert_eq!(pcrs.value(4), Some(&Sha256Digest([4; 32])));
        assert_eq!(pcrs.value(14), Some(&Sha256Digest([14; 32])));
    }
}
