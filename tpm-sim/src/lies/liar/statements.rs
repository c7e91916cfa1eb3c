//! What the liar's TPM signs for it: honest answers to a challenge, and some that answer another question.

use touchstone_agent::runtime_list;
use touchstone_agent::tpm::{AttestRequest, LOCATION_INDEX, NvArea};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence::qualifying::QualifyingData;
use touchstone_evidence::release_key::release_key_name;
use touchstone_evidence::tpm::name::Name;
use touchstone_evidence::wire::{Challenge, Evidence, ReleaseKey, SignedAttest};

use super::super::{Error, Result};
use super::Liar;

/// The boot id that all evidence here names.
const BOOT_ID: [u8; 16] = [7; 16];

impl Liar {
    /// The honest answer to `challenge`.
    ///
    /// # Errors
    /// [`Error::Tpm`].
    pub async fn evidence(&self, challenge: &Challenge) -> Result<Evidence> {
        self.evidence_over(challenge, challenge.pcrs).await
    }

    /// An answer that quotes `pcrs` instead of those asked for.
    ///
    /// # Errors
    /// [`Error::Tpm`].
    pub async fn evidence_over(
        &self,
        challenge: &Challenge,
        pcrs: PcrSelection,
    ) -> Result<Evidence> {
        let tag = self.tpm.location_tag().await?;
        self.answer(challenge, pcrs, tag.as_deref()).await
    }

    /// The honest answer to `challenge`, with the release key of this boot.
    ///
    /// # Errors
    /// [`Error::Tpm`].
    pub async fn evidence_with_release_key(&self, challenge: &Challenge) -> Result<Evidence> {
        let tag = self.tpm.location_tag().await?;
        let key = self.tpm.release_key().await?;
        let request = self.request(challenge, challenge.pcrs, tag.as_deref(), Some(key))?;
        self.answer_to(challenge, challenge.pcrs, request).await
    }

    /// An answer over whatever `area` of the TPM's NV says, honest in all else.
    ///
    /// # Errors
    /// [`Error::Tpm`] if there is no such area.
    pub async fn evidence_about(
        &self,
        challenge: &Challenge,
        area: NvArea,
        contents: &[u8],
    ) -> Result<Evidence> {
        let mut request = self.request(challenge, challenge.pcrs, Some(contents), None)?;
        request.location = Some(area);
        self.answer_to(challenge, challenge.pcrs, request).await
    }

    pub(super) async fn answer(
        &self,
        challenge: &Challenge,
        pcrs: PcrSelection,
        tag: Option<&[u8]>,
    ) -> Result<Evidence> {
        let request = self.request(challenge, pcrs, tag, None)?;
        self.answer_to(challenge, pcrs, request).await
    }

    /// A quote for `challenge` by a fresh attestation key of the same TPM.
    ///
    /// # Errors
    /// [`Error::Tpm`].
    pub async fn quote_by_another_key(&self, challenge: &Challenge) -> Result<SignedAttest> {
        let ak = self.tpm.create_ak().await?;
        let tag = self.tpm.location_tag().await?;
        let request = self.request(challenge, challenge.pcrs, tag.as_deref(), None)?;
        Ok(self.tpm.attest(&ak, request).await?.quote.into())
    }

    /// A certification of the location index by a fresh attestation key of the same TPM.
    ///
    /// # Errors
    /// [`Error::Tpm`], or [`Error::Scene`] if the TPM carries no tag.
    pub async fn location_by_another_key(&self, challenge: &Challenge) -> Result<SignedAttest> {
        let ak = self.tpm.create_ak().await?;
        let tag = self.tpm.location_tag().await?;
        let request = self.request(challenge, challenge.pcrs, tag.as_deref(), None)?;
        let attestation = self.tpm.attest(&ak, request).await?;
        let location = attestation.location.map(SignedAttest::from);
        location.ok_or(Error::Scene("the liar's TPM carries no location tag"))
    }

    fn request(
        &self,
        challenge: &Challenge,
        pcrs: PcrSelection,
        tag: Option<&[u8]>,
        release_key: Option<Vec<u8>>,
    ) -> Result<AttestRequest> {
        let tls_key = self.identity.keys.tls.digest()?;
        let nonce = <&[u8; 32]>::try_from(&challenge.nonce[..]);
        let name = release_key.as_deref().map(release_key_name);
        let qualifying = QualifyingData {
            nonce: nonce.map_err(|_| Error::Scene("a nonce has 32 bytes"))?,
            host: &self.identity.host,
            boot_id: &BOOT_ID,
            location_tag: tag.map(Sha256Digest::of),
            release_key: name.as_ref().map(Name::as_bytes),
            tls_key: &tls_key,
            node_token: None,
        };
        let size = tag.map(|tag| u16::try_from(tag.len())).transpose();
        let size = size.map_err(|_| Error::Scene("a tag has at most 512 bytes"))?;
        Ok(AttestRequest {
            qualifying: qualifying.digest().0,
            pcrs: pcrs.indices().collect(),
            location: size.map(|size| NvArea {
                index: LOCATION_INDEX,
                size,
            }),
            release_key,
        })
    }

    async fn answer_to(
        &self,
        challenge: &Challenge,
        pcrs: PcrSelection,
        request: AttestRequest,
    ) -> Result<Evidence> {
        let ak = self.identity.keys.ak();
        let qualifying = request.qualifying;
        let release_key = request.release_key.clone();
        let attestation = self.tpm.attest(&ak, request).await?;
        let banks = self.tpm.banks(&ak, qualifying).await?;
        let values = attestation.pcr_values.into_iter().map(Sha256Digest);
        let wanted = runtime_list::wanted(challenge.runtime.as_ref(), &attestation.quote.attest);
        let runtime = runtime_list::part(&self.ima_list, wanted)?;
        Ok(Evidence {
            nonce: challenge.nonce.clone(),
            boot_id: BOOT_ID.to_vec().into(),
            quote: attestation.quote.into(),
            pcrs: PcrValues(pcrs.indices().zip(values).collect()),
            boot_log_digest: Sha256Digest::of(&self.boot_log),
            boot_log: Some(self.boot_log.clone().into()),
            banks: Some(banks.into()),
            runtime,
            location: attestation.location.map(SignedAttest::from),
            release_key: release_key
                .zip(attestation.release_key)
                .map(|(public, certification)| ReleaseKey {
                    public: public.into(),
                    certification: certification.into(),
                }),
            node_token: None,
        })
    }
}
