//! What the liar sends, and what comes back.

use touchstone_agent::client::{Client, Error as ClientError};
use touchstone_agent::identity::Identity;
use touchstone_agent::tls::TlsKey;
use touchstone_evidence::wire::{Evidence, RoundAnswer};

use super::super::{Error, Result};
use super::Liar;

/// The code of a verifier that hung up, or gave no answer that can be read.
const NO_ANSWER: &str = "no-answer";

/// What came of a message: the answer, or the code of the refusal.
pub type Said = std::result::Result<RoundAnswer, String>;

impl Liar {
    /// Sends bytes as they are.
    pub async fn send_bytes(&self, bytes: &[u8]) -> Said {
        said(self.client.evidence(bytes).await)
    }

    /// Sends evidence.
    ///
    /// # Errors
    /// [`Error::Message`].
    pub async fn send(&self, evidence: &Evidence) -> Result<Said> {
        Ok(self.send_bytes(&serde_json::to_vec(evidence)?).await)
    }

    /// Answers a fresh challenge after `lie` changed the honest evidence.
    ///
    /// # Errors
    /// [`Error::Client`] or [`Error::Tpm`].
    pub async fn lie(&self, lie: impl FnOnce(&mut Evidence)) -> Result<Said> {
        let challenge = self.challenge().await?;
        let mut evidence = self.evidence(&challenge).await?;
        lie(&mut evidence);
        self.send(&evidence).await
    }

    /// An honest round of a host that shows no tag.
    ///
    /// # Errors
    /// [`Error::Client`] or [`Error::Tpm`].
    pub async fn lie_without_location(&self) -> Result<Said> {
        let challenge = self.challenge().await?;
        let evidence = self.answer(&challenge, challenge.pcrs, None).await?;
        self.send(&evidence).await
    }

    /// Sends bytes that claim to be encoded.
    ///
    /// # Errors
    /// [`Error::Http`] if the connection cannot be set up.
    pub async fn send_encoded(&self, encoding: &str, bytes: Vec<u8>) -> Result<Said> {
        let Identity {
            server, ca, keys, ..
        } = &self.identity;
        let pem = [keys.tls.certificate(), keys.tls.private_key()].concat();
        let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(ca.as_bytes())?)
            .identity(reqwest::Identity::from_pem(pem.as_bytes())?)
            .build()?;
        let request = http.post(format!("{server}/v1/evidence"));
        let request = request.header("content-encoding", encoding).body(bytes);
        let answer = async { request.send().await?.bytes().await };
        let Ok(answer) = answer.await else {
            return Ok(Err(NO_ANSWER.to_owned()));
        };
        if let Ok(answer) = serde_json::from_slice(&answer) {
            return Ok(Ok(answer));
        }
        let problem: serde_json::Value = serde_json::from_slice(&answer)?;
        let code = problem["type"].as_str().unwrap_or(NO_ANSWER);
        Ok(Err(code.trim_start_matches("touchstone:").to_owned()))
    }

    /// Sends evidence in this host's name over a TLS key that nobody enrolled.
    ///
    /// # Errors
    /// [`Error::Tls`] or [`Error::Client`] if the connection cannot be set up.
    pub async fn send_as_stranger(&self, evidence: &Evidence) -> Result<Said> {
        let key = TlsKey::generate()?;
        let client = Client::new(&self.identity.server, &self.identity.ca, &key)?;
        Ok(said(client.evidence(&serde_json::to_vec(evidence)?).await))
    }
}

/// A refusal is what was said; so is silence.
pub(in crate::lies) fn said<T>(
    outcome: std::result::Result<T, ClientError>,
) -> std::result::Result<T, String> {
    outcome.map_err(|error| match error {
        ClientError::Refused(problem) => problem.code,
        _ => NO_ANSWER.to_owned(),
    })
}

/// The answer to what should be accepted; a lie would not show beside a refusal.
pub(in crate::lies) fn accepted(said: Said) -> Result<RoundAnswer> {
    said.map_err(Error::Refused)
}

/// The code of a refusal, or of the first finding of a verdict; `none` when nothing was found.
#[must_use]
pub fn code(said: &Said) -> String {
    match said {
        Ok(answer) => codes(answer).first().unwrap_or(&"none").to_string(),
        Err(refusal) => refusal.clone(),
    }
}

/// Codes of all findings of an answer.
#[must_use]
pub fn codes(answer: &RoundAnswer) -> Vec<&str> {
    let findings = answer.findings.iter();
    findings.map(|finding| finding.code.as_str()).collect()
}
