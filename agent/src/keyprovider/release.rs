//! One key: a round of evidence that carries the release key, the attestor's answer, and its opening in the TPM.
//! What is asked, and what must come of it, is the [`Question`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use touchstone_evidence::annotation::{Annotation, layer_of};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::sealed_release::{ReleasePolicy, payload};
use touchstone_evidence::tpm::attest::{Attest, ClockInfo};
use touchstone_evidence::wire::{Challenge, Evidence, Lease, Release, ReleaseRequest};
use zeroize::Zeroizing;

use super::lease::{self, Expected};
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

/// The attestor gives this host the key no more.
const LEASE_REVOKED: &str = "lease-revoked";

/// What a call asks the attestor for.
pub(crate) trait Question: Send + Sync {
    /// What the attestor says.
    type Answer: DeserializeOwned + Send;
    /// A lease that was compared with what was asked for.
    type Granted: Send;
    /// What the caller gets.
    type Key: Send;

    /// The body of the request.
    fn request(&self, evidence: &Evidence) -> serde_json::Result<Vec<u8>>;

    /// Sends it, once.
    fn send(
        &self,
        client: &Client,
        request: &[u8],
    ) -> impl Future<Output = Result<Self::Answer, client::Error>> + Send;

    /// Compares all that is said in clear with what was asked for and with what the quote shows; the rest is sealed.
    fn check(
        &self,
        answer: Self::Answer,
        seen: &Seen<'_>,
    ) -> Result<(Self::Granted, Release), Refusal>;

    /// Whether an ordinary round tells more.
    fn round_due(answer: &Self::Answer) -> bool;

    /// When the sealed secret ends, in milliseconds on the TPM's clock.
    fn clock_end(granted: &Self::Granted) -> u64;

    /// What was in it, if it is what was granted.
    fn key(
        &self,
        granted: Self::Granted,
        payload: Zeroizing<Vec<u8>>,
        settings: &Settings,
    ) -> impl Future<Output = Result<Self::Key, Refusal>> + Send;
}

/// Where this host stands, by its own quote and clock.
pub(crate) struct Seen<'a> {
    pub(crate) host: &'a HostId,
    /// Of the quote that was sent.
    pub(crate) clock: ClockInfo,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

/// The key of a layer.
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
    /// Notified when an ordinary round is due: its answer says what is revoked.
    pub(crate) round_due: Arc<Notify>,
}

/// A call under way: until when it may take, and what is said if it takes longer.
struct Call<'a, Q, S> {
    releases: &'a Releases,
    client: Client,
    question: &'a Q,
    deadline: Instant,
    slow: &'a S,
    /// What the TPM took of it so far, in microseconds.
    tpm: AtomicU64,
}

impl Releases {
    /// The key, by as many rounds as it takes.
    pub(super) async fn release<Q: Question>(
        &self,
        question: &Q,
        deadline: Instant,
        slow: &(impl Fn(Waiting) -> Refusal + Sync),
    ) -> Result<Q::Key, Refusal> {
        let began = Instant::now();
        let mut begun = 0;
        let mut tpm = Duration::ZERO;
        loop {
            begun += 1;
            let call = Call {
                releases: self,
                client: self.client.borrow().clone(),
                question,
                deadline,
                slow,
                tpm: AtomicU64::new(0),
            };
            let outcome = call.round().await;
            tpm += call.at_the_tpm();
            match outcome {
                Err(refusal) if begun < ROUNDS && refusal.wants_another_round() => {
                    tracing::debug!("another round for this key: {}", refusal.text());
                }
                outcome => {
                    let whole = began.elapsed();
                    tracing::debug!(
                        rounds = begun,
                        ?whole,
                        ?tpm,
                        "the question of a key is answered"
                    );
                    return outcome;
                }
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

impl Question for Wanted {
    type Answer = Release;
    type Granted = Lease;
    type Key = Zeroizing<Vec<u8>>;

    fn request(&self, evidence: &Evidence) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&ReleaseRequest {
            evidence: evidence.clone(),
            annotation: self.written.clone().into(),
            manifest: self.manifest,
        })
    }

    async fn send(&self, client: &Client, request: &[u8]) -> Result<Release, client::Error> {
        client.release(request).await
    }

    fn check(&self, release: Release, seen: &Seen<'_>) -> Result<(Lease, Release), Refusal> {
        let expected = Expected {
            host: seen.host,
            binding: self.annotation.untrusted_binding(),
            manifest: self.manifest,
            clock: seen.clock,
            now: seen.now,
        };
        Ok((lease::check(&release.lease, &expected)?, release))
    }

    fn round_due(release: &Release) -> bool {
        release.round_due
    }

    fn clock_end(lease: &Lease) -> u64 {
        lease.clock_end
    }

    /// The options of the layer's cipher, with its key.
    async fn key(
        &self,
        lease: Lease,
        options: Zeroizing<Vec<u8>>,
        settings: &Settings,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        if layer_of(&options)? != lease.layer {
            return Err(Refusal::OtherLayer);
        }
        // Before it is given out: what was decrypted must be found again.
        let state = settings.state.clone();
        let kept = spawn_blocking(move || keep_lease(&state, &lease)).await;
        kept.map_err(|_| Refusal::NotReady)?
            .map_err(Refusal::Kept)?;
        Ok(options)
    }
}

impl<Q: Question, S: Fn(Waiting) -> Refusal + Sync> Call<'_, Q, S> {
    async fn round(&self) -> Result<Q::Key, Refusal> {
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

    async fn ask(&self, challenge: &Challenge, evidence: Evidence) -> Result<Q::Key, Refusal> {
        match self.send(&evidence).await? {
            Err(error) if error.is_problem(BOOT_LOG_REQUIRED) => {
                let evidence = self.evidence(challenge, true).await?;
                let answer = self.send(&evidence).await?;
                self.note_due(&answer);
                self.open(&evidence, answer?).await
            }
            answer => {
                self.note_due(&answer);
                self.open(&evidence, answer?).await
            }
        }
    }

    /// Has an ordinary round begin where something is revoked: its answer says what.
    fn note_due(&self, answer: &Result<Q::Answer, client::Error>) {
        let due = match answer {
            Ok(answer) => Q::round_due(answer),
            Err(error) => error.is_problem(LEASE_REVOKED),
        };
        if due {
            self.releases.round_due.notify_one();
        }
    }

    async fn send(&self, evidence: &Evidence) -> Result<Result<Q::Answer, client::Error>, Refusal> {
        let body = self.question.request(evidence).map_err(Error::Evidence)?;
        self.attestor(self.question.send(&self.client, &body)).await
    }

    async fn open(&self, evidence: &Evidence, answer: Q::Answer) -> Result<Q::Key, Refusal> {
        let clock = clock_of(evidence)?;
        let seen = Seen {
            host: &self.releases.host,
            clock,
            now: clock::now(),
        };
        let (granted, release) = self.question.check(answer, &seen)?;
        let counters = (clock.reset_count, clock.restart_count);
        let policy = ReleasePolicy::new(&evidence.pcrs, counters, Q::clock_end(&granted))?;
        let opened = self.releases.tpm.open_release(release.sealed, policy);
        let secret = self.tpm(opened).await??;
        let payload = payload::decrypt(&secret, &release.lease, &release.payload)?;
        let key = self.question.key(granted, payload, &self.releases.settings);
        key.await
    }

    async fn evidence(&self, challenge: &Challenge, whole: bool) -> Result<Evidence, Refusal> {
        let along = Along {
            whole,
            release_key: true,
            ..Along::default()
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
        let round = match self.attestor(self.client.round(&body, None)).await? {
            Err(error) if error.is_problem(BOOT_LOG_REQUIRED) => {
                let evidence = self.evidence(challenge, true).await?;
                let body = serde_json::to_vec(&evidence).map_err(Error::Evidence)?;
                self.attestor(self.client.round(&body, None)).await??
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
        let began = Instant::now();
        let answer = until(self.deadline, Waiting::Tpm, answer).await;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.tpm.fetch_add(took, Ordering::Relaxed);
        answer.map_err(self.slow)
    }

    fn at_the_tpm(&self) -> Duration {
        Duration::from_micros(self.tpm.load(Ordering::Relaxed))
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
