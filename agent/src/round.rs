//! What a host does for one challenge: carry the tag, quote, read the PCRs, then read the logs.

use std::path::Path;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::pcr::PcrValues;
use touchstone_evidence::qualifying::QualifyingData;
use touchstone_evidence::release_key::release_key_name;
use touchstone_evidence::tpm::name::Name;
use touchstone_evidence::wire::{
    BankEvidence, Challenge, Evidence, ReleaseKey, RuntimePart, SignedAttest,
};

use crate::attest::Error;
use crate::boot;
use crate::runtime_list;
use crate::tpm::{
    self, AkBlob, AttestRequest, Attestation, BankAttestation, LOCATION_INDEX, NvArea, Signed, Tpm,
};

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

/// What goes along with a quote where it need not.
#[derive(Clone, Copy, Default)]
pub(crate) struct Along {
    /// The boot log, and what shows the PCR banks, also if the attestor says that it knows the log.
    pub(crate) whole: bool,
    /// The release key: the round is to end in a release.
    pub(crate) release_key: bool,
    /// SHA-256 of the service account token that is sent beside the evidence.
    pub(crate) node_token: Option<Sha256Digest>,
}

impl Subject<'_> {
    /// Evidence for `challenge`; with the boot log, and what shows the PCR banks, unless the attestor says
    /// that it knows the log.
    pub(crate) async fn answer(
        &self,
        challenge: &Challenge,
        along: Along,
    ) -> Result<Evidence, Error> {
        let nonce: &[u8; 32] = challenge
            .nonce
            .as_ref()
            .try_into()
            .map_err(|_| Error::Nonce(challenge.nonce.len()))?;
        let boot_id = boot::boot_id(self.boot_id)?;
        let tag = self.carry(challenge.location_tag.as_deref()).await?;
        let release_key = match along.release_key {
            true => Some(self.tpm.release_key().await?),
            false => None,
        };
        let name = release_key.as_deref().map(release_key_name);
        let qualifying = QualifyingData {
            nonce,
            host: self.host,
            boot_id: &boot_id,
            location_tag: tag.as_deref().map(Sha256Digest::of),
            release_key: name.as_ref().map(Name::as_bytes),
            tls_key: self.tls_key,
            node_token: along.node_token,
        };
        let qualifying = qualifying.digest().0;
        let request = AttestRequest {
            qualifying,
            pcrs: challenge.pcrs.indices().collect(),
            location: tag.as_deref().and_then(area),
            release_key: release_key.clone(),
        };
        let mut attestation = self.tpm.attest(self.ak, request).await?;
        // After the quote: a log read later contains all that was quoted.
        let boot_log = boot::boot_log(self.boot_log)?;
        let wanted = runtime_list::wanted(challenge.runtime.as_ref(), &attestation.quote.attest);
        let runtime = runtime_list::part(self.ima_list, wanted)?;
        let certification = attestation.release_key.take().map(SignedAttest::from);
        let mut evidence = evidence(challenge, boot_id, attestation, &boot_log, runtime);
        evidence.node_token = along.node_token;
        evidence.release_key = release_key
            .zip(certification)
            .map(|(public, certification)| ReleaseKey {
                public: public.into(),
                certification,
            });
        if along.whole || challenge.known_boot_log != Some(evidence.boot_log_digest) {
            evidence.banks = self.banks(qualifying).await?;
            evidence.boot_log = Some(boot_log.into());
        }
        Ok(evidence)
    }

    /// What shows the PCR banks. A TPM that refuses is no reason to be silent about the rest.
    async fn banks(&self, qualifying: [u8; 32]) -> Result<Option<BankEvidence>, tpm::Error> {
        match self.tpm.banks(self.ak, qualifying).await {
            Ok(attestation) => Ok(Some(attestation.into())),
            Err(error @ (tpm::Error::Authorization { .. } | tpm::Error::Refused { .. })) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(host.id = %self.host, error, "the TPM does not show its PCR banks");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The tag that the TPM carries, once it has been given the one it should. A tag that cannot be
    /// written is no reason to be silent about the rest: the attestor judges what is carried.
    async fn carry(&self, wanted: Option<&[u8]>) -> Result<Option<Vec<u8>>, tpm::Error> {
        let carried = self.tpm.location_tag().await;
        if matches!(carried, Err(tpm::Error::Unreachable { .. })) {
            return carried;
        }
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

/// Where the runtime list goes on after the part that is in, if it does.
pub(crate) fn goes_on_at(evidence: &Evidence) -> Option<u64> {
    let part = evidence.runtime.as_ref().filter(|part| part.more)?;
    let length = u64::try_from(part.entries.len()).ok()?;
    part.offset.checked_add(length)
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
    Evidence {
        nonce: challenge.nonce.clone(),
        boot_id: boot_id.to_vec().into(),
        quote: attestation.quote.into(),
        pcrs: PcrValues(challenge.pcrs.indices().zip(values).collect()),
        boot_log_digest: Sha256Digest::of(boot_log),
        boot_log: None,
        banks: None,
        runtime,
        location: attestation.location.map(SignedAttest::from),
        release_key: None,
        node_token: None,
    }
}

impl From<BankAttestation> for BankEvidence {
    fn from(attestation: BankAttestation) -> Self {
        Self {
            capability: attestation.capability.into(),
            audit: attestation.audit.into(),
            quote: attestation.quote.into(),
            values: attestation.values.into(),
        }
    }
}

impl From<Signed> for SignedAttest {
    fn from(statement: Signed) -> Self {
        Self {
            attest: statement.attest.into(),
            signature: statement.signature.into(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use touchstone_evidence::pcr::PcrSelection;

    #[test]
    fn values_stand_beside_their_registers() {
        let challenge = Challenge {
            nonce: vec![7; 32].into(),
            pcrs: PcrSelection::try_from(vec![14, 4]).unwrap(),
            expires_at: 1,
            known_boot_log: None,
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
            release_key: None,
            pcr_values: vec![[4; 32], [14; 32]],
        };
        let pcrs = evidence(&challenge, [3; 16], attestation, b"log", None).pcrs;
        assert_eq!(pcrs.value(4), Some(&Sha256Digest([4; 32])));
        assert_eq!(pcrs.value(14), Some(&Sha256Digest([14; 32])));
    }
}
