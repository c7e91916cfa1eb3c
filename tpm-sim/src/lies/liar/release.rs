//! Keys of encrypted layers, and data keys: how the liar asks for them, and what it can open.

use touchstone_agent::client::{Error as ClientError, Problem};
use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::sealed_release::{ReleasePolicy, payload};
use touchstone_evidence::wire::{
    DataKeyLease, DataKeyMade, DataKeyRequest, DataKeyWish, Evidence, Lease, Release,
    ReleaseRequest,
};
use zeroize::Zeroizing;

use super::super::{Error, Result};
use super::Liar;

/// An answer, or the refusal; what is neither is an error.
fn refused<T>(
    asked: std::result::Result<T, ClientError>,
) -> Result<std::result::Result<T, Problem>> {
    match asked {
        Ok(answer) => Ok(Ok(answer)),
        Err(ClientError::Refused(problem)) => Ok(Err(problem)),
        Err(error) => Err(error.into()),
    }
}

impl Liar {
    /// What an honest host asks for the key of the layer with this annotation: a fresh round, with the release key.
    ///
    /// # Errors
    /// [`Error::Client`] or [`Error::Tpm`].
    pub async fn wish(&self, annotation: &[u8]) -> Result<ReleaseRequest> {
        let challenge = self.challenge().await?;
        Ok(ReleaseRequest {
            evidence: self.evidence_with_release_key(&challenge).await?,
            annotation: annotation.to_vec().into(),
            manifest: None,
        })
    }

    /// Asks for it: what was released, or the refusal.
    ///
    /// # Errors
    /// [`Error::Message`], or [`Error::Client`] if there is no answer that can be read.
    pub async fn ask_release(
        &self,
        wish: &ReleaseRequest,
    ) -> Result<std::result::Result<Release, Problem>> {
        refused(self.client.release(&serde_json::to_vec(wish)?).await)
    }

    /// Opens in the TPM what was released for `wish`, whatever the lease says otherwise.
    ///
    /// # Errors
    /// [`Error::Tpm`] if the TPM does not open it; [`Error::Scene`] if it does, and holds something else.
    pub async fn open(
        &self,
        wish: &ReleaseRequest,
        release: &Release,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let lease: Lease = serde_json::from_slice(&release.lease)?;
        let counters = (lease.reset_count, lease.restart_count);
        self.unseal(&wish.evidence, release, counters, lease.clock_end)
            .await
    }

    /// What an honest host asks for a new data key under the key `name`.
    ///
    /// # Errors
    /// [`Error::Tpm`] or [`Error::Client`] if there is no evidence.
    pub async fn data_key_wish(&self, name: &KeyName) -> Result<DataKeyWish> {
        let challenge = self.challenge().await?;
        Ok(DataKeyWish {
            evidence: self.evidence_with_release_key(&challenge).await?,
            key: name.clone(),
        })
    }

    /// Asks for it: what was made, or the refusal.
    ///
    /// # Errors
    /// [`Error::Client`] if there is no answer.
    pub async fn make_data_key(
        &self,
        wish: &DataKeyWish,
    ) -> Result<std::result::Result<DataKeyMade, Problem>> {
        refused(self.client.make_data_key(&serde_json::to_vec(wish)?).await)
    }

    /// What an honest host asks for the data key that was wrapped to this.
    ///
    /// # Errors
    /// [`Error::Tpm`] or [`Error::Client`] if there is no evidence.
    pub async fn data_key_request(&self, wrapped: &[u8]) -> Result<DataKeyRequest> {
        let challenge = self.challenge().await?;
        Ok(DataKeyRequest {
            evidence: self.evidence_with_release_key(&challenge).await?,
            wrapped: wrapped.to_vec().into(),
        })
    }

    /// Asks for it: what was released, or the refusal.
    ///
    /// # Errors
    /// [`Error::Client`] if there is no answer.
    pub async fn ask_data_key(
        &self,
        request: &DataKeyRequest,
    ) -> Result<std::result::Result<Release, Problem>> {
        let request = serde_json::to_vec(request)?;
        refused(self.client.open_data_key(&request).await)
    }

    /// Opens in the TPM the data key that was released for this evidence.
    ///
    /// # Errors
    /// As [`Liar::open`].
    pub async fn open_data_key(
        &self,
        evidence: &Evidence,
        release: &Release,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let lease: DataKeyLease = serde_json::from_slice(&release.lease)?;
        let counters = (lease.reset_count, lease.restart_count);
        self.unseal(evidence, release, counters, lease.clock_end)
            .await
    }

    async fn unseal(
        &self,
        evidence: &Evidence,
        release: &Release,
        counters: (u32, u32),
        clock_end: u64,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let policy = ReleasePolicy::new(&evidence.pcrs, counters, clock_end);
        let policy = policy.map_err(|_| Error::Scene("the boot PCRs were not quoted"))?;
        let secret = self
            .tpm
            .open_release(release.sealed.clone(), policy)
            .await?;
        payload::decrypt(&secret, &release.lease, &release.payload)
            .map_err(|_| Error::Scene("the payload is of another secret or lease"))
    }
}
