//! A host that can lie ([`touchstone_tpm_sim::lies::Liar`]), for tests: what cannot be told ends the test.

use std::ops::Deref;

use touchstone_agent::client::Problem;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::PcrSelection;
use touchstone_evidence::wire::{
    Challenge, DataKeyMade, DataKeyRequest, DataKeyWish, Evidence, Release, ReleaseRequest,
    SignedAttest,
};
use touchstone_tpm_sim::lies::{self, Said};

use crate::host::Host;
use crate::server::Server;

pub use touchstone_tpm_sim::lies::codes;

/// An enrolled host under the control of its root user.
pub struct Liar(lies::Liar);

impl Liar {
    /// Takes over an enrolled host.
    pub async fn take(host: &Host, server: &Server) -> Self {
        Self(lies::Liar::take(&host.settings(server)).await.unwrap())
    }

    /// The same host, which speaks to another replica.
    #[must_use]
    pub fn at(self, server: &Server) -> Self {
        Self(self.0.at(&server.url).unwrap())
    }

    /// Asks for a challenge.
    pub async fn challenge(&self) -> Challenge {
        self.0.challenge().await.unwrap()
    }

    /// The honest answer to `challenge`.
    pub async fn evidence(&self, challenge: &Challenge) -> Evidence {
        self.0.evidence(challenge).await.unwrap()
    }

    /// The honest answer to `challenge`, with the release key of this boot.
    pub async fn evidence_with_release_key(&self, challenge: &Challenge) -> Evidence {
        self.0.evidence_with_release_key(challenge).await.unwrap()
    }

    /// An answer that quotes `pcrs` instead of those asked for.
    pub async fn evidence_over(&self, challenge: &Challenge, pcrs: PcrSelection) -> Evidence {
        self.0.evidence_over(challenge, pcrs).await.unwrap()
    }

    /// A quote for `challenge` by a fresh attestation key of the same TPM.
    pub async fn quote_by_another_key(&self, challenge: &Challenge) -> SignedAttest {
        self.0.quote_by_another_key(challenge).await.unwrap()
    }

    /// An honest round of a host that shows no tag.
    pub async fn lie_without_location(&self) -> Said {
        self.0.lie_without_location().await.unwrap()
    }

    /// What an honest host asks for the key of the layer with this annotation.
    pub async fn wish(&self, annotation: &[u8]) -> ReleaseRequest {
        self.0.wish(annotation).await.unwrap()
    }

    /// Asks for it: what was released, or the refusal.
    pub async fn ask_release(&self, wish: &ReleaseRequest) -> Result<Release, Problem> {
        self.0.ask_release(wish).await.unwrap()
    }

    /// Opens in the TPM what was released.
    pub async fn open(&self, wish: &ReleaseRequest, release: &Release) -> lies::Result<Vec<u8>> {
        Ok(self.0.open(wish, release).await?.to_vec())
    }

    /// Asks for a new data key under the key `name`: the wish, and what came of it.
    pub async fn make_data_key(&self, name: &str) -> (DataKeyWish, Result<DataKeyMade, Problem>) {
        let wish = self.0.data_key_wish(&name.parse().unwrap()).await.unwrap();
        let made = self.make_data_key_by(&wish).await;
        (wish, made)
    }

    /// Asks for a new data key with this wish.
    pub async fn make_data_key_by(&self, wish: &DataKeyWish) -> Result<DataKeyMade, Problem> {
        self.0.make_data_key(wish).await.unwrap()
    }

    /// Asks for the data key that was wrapped to this: the request, and what came of it.
    pub async fn ask_data_key(&self, wrapped: &[u8]) -> (DataKeyRequest, Result<Release, Problem>) {
        let request = self.0.data_key_request(wrapped).await.unwrap();
        let released = self.ask_data_key_by(&request).await;
        (request, released)
    }

    /// Asks for a data key with this request.
    pub async fn ask_data_key_by(&self, request: &DataKeyRequest) -> Result<Release, Problem> {
        self.0.ask_data_key(request).await.unwrap()
    }

    /// Sends evidence: the answer, or the code of the refusal.
    pub async fn send(&self, evidence: &Evidence) -> Said {
        self.0.send(evidence).await.unwrap()
    }

    /// Answers a fresh challenge after `lie` changed the honest evidence.
    pub async fn lie(&self, lie: impl FnOnce(&mut Evidence)) -> Said {
        self.0.lie(lie).await.unwrap()
    }

    /// Answers with another boot log, under its own digest.
    pub async fn show_log(&self, log: Vec<u8>) -> Said {
        self.lie(|lie| {
            lie.boot_log_digest = Sha256Digest::of(&log);
            lie.boot_log = Some(log.into());
        })
        .await
    }

    /// Answers as if the attestor knew the boot log of this digest.
    pub async fn name_log(&self, digest: Sha256Digest) -> Said {
        self.lie(|lie| {
            lie.boot_log_digest = digest;
            lie.boot_log = None;
        })
        .await
    }
}

/// What needs no unwrapping.
impl Deref for Liar {
    type Target = lies::Liar;

    fn deref(&self) -> &lies::Liar {
        &self.0
    }
}
