//! A host that can lie: it holds an enrolled identity and a real TPM, and says what it is told to.

use std::path::PathBuf;

use touchstone_agent::client::{Client, Error as ClientError, Problem};
use touchstone_agent::identity::Identity;
use touchstone_agent::state::Records;
use touchstone_agent::tls::TlsKey;
use touchstone_agent::tpm::{AttestRequest, BankAttestation, LOCATION_INDEX, NvArea, Signed, Tpm};
use touchstone_agent::{Outcome, Settings, attest_once, enrol, runtime_list};
use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence::qualifying::QualifyingData;
use touchstone_evidence::release_key::release_key_name;
use touchstone_evidence::result::TrustTier;
use touchstone_evidence::sealed_release::{ReleasePolicy, payload};
use touchstone_evidence::tpm::name::Name;
use touchstone_evidence::wire::{
    BankEvidence, Challenge, DataKeyLease, DataKeyMade, DataKeyRequest, DataKeyWish, Evidence,
    JoinToken, Lease, Release, ReleaseKey, ReleaseRequest, RoundAnswer, SignedAttest,
};
use zeroize::Zeroizing;

use super::{Error, Result};

/// The boot id that all evidence here names.
const BOOT_ID: [u8; 16] = [7; 16];

/// The code of a verifier that hung up, or gave no answer that can be read.
const NO_ANSWER: &str = "no-answer";

/// What came of a message: the answer, or the code of the refusal.
pub type Said = std::result::Result<RoundAnswer, String>;

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

/// An enrolled host under the control of its root user.
#[derive(Debug)]
pub struct Liar {
    client: Client,
    /// Its TPM.
    pub tpm: Tpm,
    /// What was enrolled.
    pub identity: Identity,
    boot_log: Vec<u8>,
    ima_list: PathBuf,
}

impl Liar {
    /// Takes over a host that was enrolled into this state folder.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Tpm`] or [`Error::File`].
    pub async fn take(settings: &Settings) -> Result<Self> {
        let identity = Records::at(&settings.state)
            .identity()?
            .ok_or(Error::Scene("the liar is not enrolled"))?;
        let boot_log = std::fs::read(&settings.boot_log).map_err(|source| Error::File {
            path: settings.boot_log.clone(),
            source,
        })?;
        Ok(Self {
            client: Client::new(&identity.server, &identity.ca, &identity.keys.tls)?,
            tpm: Tpm::open(&settings.tcti).await?,
            identity,
            boot_log,
            ima_list: settings.ima_list.clone(),
        })
    }

    /// The same host, which speaks to the verifier at `url`: another replica.
    ///
    /// # Errors
    /// That the connection cannot be set up.
    pub fn at(mut self, url: &str) -> Result<Self> {
        let Identity { ca, keys, .. } = &self.identity;
        self.client = Client::new(url, ca, &keys.tls)?;
        url.clone_into(&mut self.identity.server);
        Ok(self)
    }

    /// Enrols honestly, attests honestly once, and takes the host over from there.
    ///
    /// # Errors
    /// [`Error::Enrol`], [`Error::Honest`], [`Error::NotAffirming`], or as [`Liar::take`].
    pub async fn join(name: &str, settings: &Settings, token: &JoinToken) -> Result<Self> {
        let outcome = enter(name, settings, token).await?;
        if outcome.tier != TrustTier::Affirming {
            return Err(not_affirming(name, &outcome));
        }
        Self::take(settings).await
    }

    /// As [`Liar::join`], for a host whose runtime policy demands.
    ///
    /// # Errors
    /// [`Error::RuntimeUnjudged`] if it does not, so that no lie about it would show; else as [`Liar::join`].
    pub async fn join_for_runtime(
        name: &str,
        settings: &Settings,
        token: &JoinToken,
    ) -> Result<Self> {
        let outcome = enter(name, settings, token).await?;
        let codes: Vec<&str> = outcome.findings.iter().map(|f| f.code.as_str()).collect();
        match codes[..] {
            ["runtime-not-judged"] => Self::take(settings).await,
            _ if codes.iter().any(|code| code.starts_with("ima-")) => {
                Err(not_affirming(name, &outcome))
            }
            _ => Err(Error::RuntimeUnjudged(words(&outcome))),
        }
    }

    /// Asks for a challenge.
    ///
    /// # Errors
    /// [`Error::Client`].
    pub async fn challenge(&self) -> Result<Challenge> {
        Ok(self.client.challenge().await?)
    }

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

    async fn answer(
        &self,
        challenge: &Challenge,
        pcrs: PcrSelection,
        tag: Option<&[u8]>,
    ) -> Result<Evidence> {
        let request = self.request(challenge, pcrs, tag, None)?;
        self.answer_to(challenge, pcrs, request).await
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
            quote: signed(attestation.quote),
            pcrs: PcrValues(pcrs.indices().zip(values).collect()),
            boot_log_digest: Sha256Digest::of(&self.boot_log),
            boot_log: Some(self.boot_log.clone().into()),
            banks: Some(bank_evidence(banks)),
            runtime,
            location: attestation.location.map(signed),
            release_key: release_key
                .zip(attestation.release_key)
                .map(|(public, certification)| ReleaseKey {
                    public: public.into(),
                    certification: signed(certification),
                }),
        })
    }

    /// A quote for `challenge` by a fresh attestation key of the same TPM.
    ///
    /// # Errors
    /// [`Error::Tpm`].
    pub async fn quote_by_another_key(&self, challenge: &Challenge) -> Result<SignedAttest> {
        let ak = self.tpm.create_ak().await?;
        let tag = self.tpm.location_tag().await?;
        let request = self.request(challenge, challenge.pcrs, tag.as_deref(), None)?;
        Ok(signed(self.tpm.attest(&ak, request).await?.quote))
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
        let location = attestation.location.map(signed);
        location.ok_or(Error::Scene("the liar's TPM carries no location tag"))
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

/// Enrols, and attests once.
async fn enter(name: &str, settings: &Settings, token: &JoinToken) -> Result<Outcome> {
    let host = || name.to_owned();
    enrol(settings, token, false)
        .await
        .map_err(|source| Error::Enrol {
            host: host(),
            source,
        })?;
    attest_once(settings).await.map_err(|source| Error::Honest {
        host: host(),
        source,
    })
}

fn not_affirming(name: &str, outcome: &Outcome) -> Error {
    Error::NotAffirming {
        host: name.to_owned(),
        tier: outcome.tier.to_string(),
        findings: words(outcome),
    }
}

/// The codes of its findings, or its tier where there are none.
fn words(outcome: &Outcome) -> String {
    let codes: Vec<&str> = outcome.findings.iter().map(|f| f.code.as_str()).collect();
    match codes.is_empty() {
        true => outcome.tier.to_string(),
        false => codes.join(", "),
    }
}

/// A refusal is what was said; so is silence.
pub(super) fn said<T>(
    outcome: std::result::Result<T, ClientError>,
) -> std::result::Result<T, String> {
    outcome.map_err(|error| match error {
        ClientError::Refused(problem) => problem.code,
        _ => NO_ANSWER.to_owned(),
    })
}

/// The answer to what should be accepted; a lie would not show beside a refusal.
pub(super) fn accepted(said: Said) -> Result<RoundAnswer> {
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

fn bank_evidence(attestation: BankAttestation) -> BankEvidence {
    BankEvidence {
        capability: attestation.capability.into(),
        audit: signed(attestation.audit),
        quote: signed(attestation.quote),
        values: attestation.values.into(),
    }
}

fn signed(statement: Signed) -> SignedAttest {
    SignedAttest {
        attest: statement.attest.into(),
        signature: statement.signature.into(),
    }
}
