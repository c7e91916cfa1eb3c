//! A machine that speaks the enrolment protocol step by step.

use touchstone_agent::client::Client;
use touchstone_agent::tls::TlsKey;
use touchstone_agent::tpm::{AkBlob, Tpm};
use touchstone_evidence::encoded::Few;
use touchstone_evidence::wire::{
    Activation, Enrolled, EnrolmentChallenge, EnrolmentRequest, JoinToken,
};

use super::Result;
use super::liar::said;

/// What came of a message: the answer, or the code of the refusal.
type Said<T> = std::result::Result<T, String>;

/// A machine before it is enrolled, with a fresh TLS key and a fresh attestation key.
#[derive(Debug)]
pub struct Applicant {
    client: Client,
    secret: String,
    /// What it asks for, honest unless changed.
    pub request: EnrolmentRequest,
    /// Its TPM.
    pub tpm: Tpm,
    /// Its attestation key.
    pub ak: AkBlob,
}

impl Applicant {
    /// The machine whose TPM answers at `tcti`, with the join token of the verifier.
    ///
    /// # Errors
    /// [`Error::Tpm`](super::Error::Tpm), or that the connection cannot be set up.
    pub async fn at(tcti: &str, token: &JoinToken) -> Result<Self> {
        let tpm = Tpm::open(tcti).await?;
        let endorsement = tpm.endorsement().await?;
        let ak = tpm.create_ak().await?;
        let key = TlsKey::generate()?;
        Ok(Self {
            client: Client::new(&token.server, &token.ca, &key)?,
            secret: token.secret.clone(),
            request: EnrolmentRequest {
                ek_certificate: endorsement.certificate.into(),
                intermediates: Few(endorsement
                    .intermediates
                    .into_iter()
                    .map(Into::into)
                    .collect()),
                platform_certificate: endorsement.platform_certificate.map(Into::into),
                ek_public: endorsement.public.into(),
                ak_public: ak.public.clone().into(),
            },
            tpm,
            ak,
        })
    }

    /// The same machine over another TLS key.
    ///
    /// # Errors
    /// That the connection cannot be set up.
    pub fn over(mut self, token: &JoinToken, key: &TlsKey) -> Result<Self> {
        self.client = Client::new(&token.server, &token.ca, key)?;
        Ok(self)
    }

    /// The first message.
    ///
    /// # Errors
    /// The code of the refusal.
    pub async fn begin(&self) -> Said<EnrolmentChallenge> {
        said(self.client.enrol(&self.secret, &self.request).await)
    }

    /// What its TPM makes of the credential.
    ///
    /// # Errors
    /// [`Error::Tpm`](super::Error::Tpm).
    pub async fn open(&self, challenge: &EnrolmentChallenge) -> Result<Vec<u8>> {
        let (blob, seed) = (&challenge.credential, &challenge.encrypted_seed);
        Ok(self.tpm.activate(&self.ak, blob, seed).await?.to_vec())
    }

    /// The second message.
    ///
    /// # Errors
    /// The code of the refusal.
    pub async fn activate(
        &self,
        challenge: &EnrolmentChallenge,
        secret: Vec<u8>,
    ) -> Said<Enrolled> {
        let activation = Activation {
            enrolment: challenge.enrolment.clone(),
            secret: secret.into(),
        };
        said(self.client.activate(&self.secret, &activation).await)
    }
}
