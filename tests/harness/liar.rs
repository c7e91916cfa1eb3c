//! A host that can lie: it holds an enrolled identity and a real TPM, and says what a test wants.

use touchstone_agent::client::{Client, Error};
use touchstone_agent::identity::Identity;
use touchstone_agent::state::Records;
use touchstone_agent::tpm::{AttestRequest, LOCATION_INDEX, NvArea, Signed, Tpm};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence::qualifying::QualifyingData;
use touchstone_evidence::wire::{Challenge, Evidence, RoundAnswer, SignedAttest};

use crate::host::Host;
use crate::server::Server;

/// The boot id that all evidence here names.
const BOOT_ID: [u8; 16] = [7; 16];

/// An enrolled host under the control of its root user.
pub struct Liar {
    client: Client,
    /// Its TPM.
    pub tpm: Tpm,
    /// What was enrolled.
    pub identity: Identity,
    boot_log: Vec<u8>,
}

impl Liar {
    /// Takes over an enrolled host.
    pub async fn take(host: &Host, server: &Server) -> Self {
        let settings = host.settings(server);
        let identity = Records::at(&settings.state).identity().unwrap().unwrap();
        let client = Client::new(&identity.server, &identity.ca, &identity.keys.tls).unwrap();
        Self {
            client,
            tpm: Tpm::open(&settings.tcti).await.unwrap(),
            identity,
            boot_log: std::fs::read(settings.boot_log).unwrap(),
        }
    }

    /// Asks for a challenge.
    pub async fn challenge(&self) -> Challenge {
        self.client.challenge().await.unwrap()
    }

    /// The honest answer to `challenge`.
    pub async fn evidence(&self, challenge: &Challenge) -> Evidence {
        self.evidence_over(challenge, challenge.pcrs).await
    }

    /// An answer that quotes `pcrs` instead of those asked for.
    pub async fn evidence_over(&self, challenge: &Challenge, pcrs: PcrSelection) -> Evidence {
        let tag = self.tpm.location_tag().await.unwrap();
        self.answer(challenge, pcrs, tag.as_deref()).await
    }

    fn request(
        &self,
        challenge: &Challenge,
        pcrs: PcrSelection,
        tag: Option<&[u8]>,
    ) -> AttestRequest {
        let tls_key = self.identity.keys.tls.digest().unwrap();
        let qualifying = QualifyingData {
            nonce: challenge.nonce.as_ref().try_into().unwrap(),
            host: &self.identity.host,
            boot_id: &BOOT_ID,
            location_tag: tag.map(Sha256Digest::of),
            release_key: None,
            tls_key: &tls_key,
            node_token: None,
        };
        AttestRequest {
            qualifying: qualifying.digest().0,
            pcrs: pcrs.indices().collect(),
            location: tag.map(|tag| NvArea {
                index: LOCATION_INDEX,
                size: u16::try_from(tag.len()).unwrap(),
            }),
        }
    }

    async fn answer(
        &self,
        challenge: &Challenge,
        pcrs: PcrSelection,
        tag: Option<&[u8]>,
    ) -> Evidence {
        let request = self.request(challenge, pcrs, tag);
        let ak = self.identity.keys.ak();
        let attestation = self.tpm.attest(&ak, request).await.unwrap();
        let values = attestation.pcr_values.into_iter().map(Sha256Digest);
        Evidence {
            nonce: challenge.nonce.clone(),
            boot_id: BOOT_ID.to_vec().into(),
            quote: signed(attestation.quote),
            pcrs: PcrValues(pcrs.indices().zip(values).collect()),
            boot_log_digest: Sha256Digest::of(&self.boot_log),
            boot_log: Some(self.boot_log.clone().into()),
            location: attestation.location.map(signed),
        }
    }

    /// A quote for `challenge` by a fresh attestation key of the same TPM.
    pub async fn quote_by_another_key(&self, challenge: &Challenge) -> SignedAttest {
        let ak = self.tpm.create_ak().await.unwrap();
        let tag = self.tpm.location_tag().await.unwrap();
        let request = self.request(challenge, challenge.pcrs, tag.as_deref());
        signed(self.tpm.attest(&ak, request).await.unwrap().quote)
    }

    /// A certification of the location index by a fresh attestation key of the same TPM.
    pub async fn location_by_another_key(&self, challenge: &Challenge) -> SignedAttest {
        let ak = self.tpm.create_ak().await.unwrap();
        let tag = self.tpm.location_tag().await.unwrap();
        let request = self.request(challenge, challenge.pcrs, tag.as_deref());
        let attestation = self.tpm.attest(&ak, request).await.unwrap();
        signed(attestation.location.unwrap())
    }

    /// An honest round of a host that shows no tag.
    pub async fn lie_without_location(&self) -> Result<RoundAnswer, String> {
        let challenge = self.challenge().await;
        let evidence = self.answer(&challenge, challenge.pcrs, None).await;
        self.send(&evidence).await
    }

    /// Sends bytes as they are: the code of the refusal, or `none`.
    pub async fn send_bytes(&self, bytes: &[u8]) -> String {
        match self.client.evidence(bytes).await {
            Ok(_) => "none".to_owned(),
            Err(Error::Refused(problem)) => problem.code,
            Err(other) => panic!("{other}"),
        }
    }

    /// Sends evidence: the answer, or the code of the refusal.
    pub async fn send(&self, evidence: &Evidence) -> Result<RoundAnswer, String> {
        match self
            .client
            .evidence(&serde_json::to_vec(evidence).unwrap())
            .await
        {
            Ok(answer) => Ok(answer),
            Err(Error::Refused(problem)) => Err(problem.code),
            Err(other) => panic!("{other}"),
        }
    }

    /// Answers a fresh challenge after `lie` changed the honest evidence.
    pub async fn lie(&self, lie: impl FnOnce(&mut Evidence)) -> Result<RoundAnswer, String> {
        let challenge = self.challenge().await;
        let mut evidence = self.evidence(&challenge).await;
        lie(&mut evidence);
        self.send(&evidence).await
    }
}

/// Codes of all findings of an answer.
#[must_use]
pub fn codes(answer: &RoundAnswer) -> Vec<&str> {
    answer
        .findings
        .iter()
        .map(|finding| finding.code.as_str())
        .collect()
}

fn signed(statement: Signed) -> SignedAttest {
    SignedAttest {
        attest: statement.attest.into(),
        signature: statement.signature.into(),
    }
}
