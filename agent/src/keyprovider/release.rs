//! One key: a round of evidence that carries the release key, the attestor's answer, and its opening in the TPM.

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use touchstone_evidence::annotation::{Annotation, layer_of};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::sealed_release::{ReleasePolicy, payload};
use touchstone_evidence::tpm::attest::{Attest, ClockInfo};
use touchstone_evidence::wire::{Challenge, Evidence, Lease, Release, ReleaseRequest};
use zeroize::Zeroizing;

use super::lease::{self, Expected, NotTheLease};
use super::{Refusal, Waiting};
use crate::attest::{BOOT_LOG_REQUIRED, Error};
use crate::client::{self, Client};
use crate::clock;
use crate::round::{Along, Subject, goes_on_at};
use crate::settings::Settings;
use crate::state::keep_lease;
use crate::tpm::{AkBlob, Tpm};

/// Rounds begun for one key. The state moves under a round when it is extended or overtaken.
const ROUNDS: usize = 4;
/// Messages that a runtime list may take before its end is sent with the request.
const PARTS: usize = 64;

/// What a call wants opened.
pub(super) struct Wanted {
    pub(super) annotation: Annotation,
    /// The annotation as it came.
    pub(super) written: Vec<u8>,
    /// The manifest that it was found in.
    pub(super) manifest: Option<OciDigest>,
}

/// What a host asks with: its identity, beside the rounds of the daemon.
#[derive(Clone)]
pub(crate) struct Releases {
    pub(crate) settings: Settings,
    pub(crate) tpm: Tpm,
    pub(crate) ak: AkBlob,
    pub(crate) host: HostId,
    pub(crate) tls_key: Sha256Digest,
    pub(crate) client: watch::Receiver<Client>,
}

/// A call under way: until when it may take, and what is said if it takes longer.
struct Call<'a, S> {
    releases: &'a Releases,
    client: Client,
    wanted: &'a Wanted,
    deadline: Instant,
    slow: &'a S,
}

impl Releases {
    /// The options of the layer's cipher, with its key.
    pub(super) async fn release(
        &self,
        wanted: &Wanted,
        deadline: Instant,
        slow: &impl Fn(Waiting) -> Refusal,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let mut begun = 0;
        loop {
            begun += 1;
            let call = Call {
                releases: self,
                client: self.client.borrow().clone(),
                wanted,
                deadline,
                slow,
            };
            match call.round().await {
                Err(refusal) if begun < ROUNDS && refusal.wants_another_round() => {
                    tracing::debug!("another round for this key: {}", refusal.text());
                }
                answer => return answer,
            }
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            tpm: &self.tpm,
            ak: &self.ak,
            host: &self.host,
            tls_key: &self.tls_key,
            boot_log: &self.settings.boot_log,
            ima_list: &self.settings.ima_list,
            boot_id: &self.settings.boot_id,
        }
    }
}

impl<S: Fn(Waiting) -> Refusal> Call<'_, S> {
    async fn round(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let mut challenge = self.attestor(self.client.challenge()).await??;
        for _ in 0..PARTS {
            let evidence = self.evidence(&challenge, false).await?;
            if goes_on_at(&evidence).is_none() {
                return self.ask(&challenge, evidence).await;
            }
            // What is judged is the whole list, so what comes before its end goes ahead.
            challenge = self.send_ahead(&challenge, evidence).await?;
        }
        Err(Refusal::Unsteady)
    }

    async fn ask(
        &self,
        challenge: &Challenge,
        evidence: Evidence,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let mut request = ReleaseRequest {
            evidence,
            annotation: self.wanted.written.clone().into(),
            manifest: self.wanted.manifest,
        };
        let release = match self.send(&request).await? {
            Err(error) if error.is_problem(BOOT_LOG_REQUIRED) => {
                request.evidence = self.evidence(challenge, true).await?;
                self.send(&request).await??
            }
            release => release?,
        };
        self.open(&request.evidence, release).await
    }

    async fn send(
        &self,
        request: &ReleaseRequest,
    ) -> Result<Result<Release, client::Error>, Refusal> {
        let body = serde_json::to_vec(request).map_err(Error::Evidence)?;
        self.attestor(self.client.release(&body)).await
    }

    async fn open(
        &self,
        evidence: &Evidence,
        release: Release,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let clock = clock_of(evidence)?;
        let lease = self.check(&release, clock)?;
        let counters = (clock.reset_count, clock.restart_count);
        let policy = ReleasePolicy::new(&evidence.pcrs, counters, lease.clock_end)?;
        let opened = self.releases.tpm.open_release(release.sealed, policy);
        let secret = self.tpm(opened).await??;
        let options = payload::decrypt(&secret, &release.lease, &release.payload)?;
        if layer_of(&options)? != lease.layer {
            return Err(Refusal::OtherLayer);
        }
        // Before it is given out: what was decrypted must be found again.
        keep_lease(&self.releases.settings.state, &lease).map_err(Refusal::Kept)?;
        Ok(options)
    }

    fn check(&self, release: &Release, clock: ClockInfo) -> Result<Lease, NotTheLease> {
        let expected = Expected {
            host: &self.releases.host,
            binding: self.wanted.annotation.untrusted_binding(),
            manifest: self.wanted.manifest,
            clock,
            now: clock::now(),
        };
        lease::check(&release.lease, &expected)
    }

    async fn evidence(&self, challenge: &Challenge, whole: bool) -> Result<Evidence, Refusal> {
        let along = Along {
            whole,
            release_key: true,
        };
        let subject = self.releases.subject();
        Ok(self.tpm(subject.answer(challenge, along)).await??)
    }

    /// An ordinary round; the challenge that follows it.
    async fn send_ahead(
        &self,
        challenge: &Challenge,
        evidence: Evidence,
    ) -> Result<Challenge, Refusal> {
        let body = serde_json::to_vec(&evidence).map_err(Error::Evidence)?;
        let round = match self.attestor(self.client.round(&body)).await? {
            Err(error) if error.is_problem(BOOT_LOG_REQUIRED) => {
                let evidence = self.evidence(challenge, true).await?;
                let body = serde_json::to_vec(&evidence).map_err(Error::Evidence)?;
                self.attestor(self.client.round(&body)).await??
            }
            round => round?,
        };
        Ok(round.answer.challenge)
    }

    async fn attestor<T>(&self, answer: impl Future<Output = T>) -> Result<T, Refusal> {
        let answer = until(self.deadline, Waiting::Attestor, answer).await;
        answer.map_err(self.slow)
    }

    async fn tpm<T>(&self, answer: impl Future<Output = T>) -> Result<T, Refusal> {
        let answer = until(self.deadline, Waiting::Tpm, answer).await;
        answer.map_err(self.slow)
    }
}

/// The clock of the quote that was sent, by the bytes that the TPM signed.
fn clock_of(evidence: &Evidence) -> Result<ClockInfo, Refusal> {
    let quote = Attest::parse(&evidence.quote.attest);
    Ok(quote.map_err(Error::Quote)?.clock_info)
}

/// What `answer` brings, or what was waited for too long.
pub(super) async fn until<T>(
    deadline: Instant,
    waiting: Waiting,
    answer: impl Future<Output = T>,
) -> Result<T, Waiting> {
    timeout_at(deadline, answer).await.map_err(|_| waiting)
}
