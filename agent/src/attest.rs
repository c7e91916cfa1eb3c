//! Rounds of attestation: which challenge is answered, what is sent again, what is kept.
//!
//! In the steady state a round is one request, because each answer brings the next challenge.

mod follow;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::tpm::reader::TpmFormatError;
use touchstone_evidence::wire::{Challenge, Evidence, RoundAnswer};

use crate::authority;
use crate::boot;
use crate::client::{self, Client, Round};
use crate::clock;
use crate::identity::Identity;
use crate::keyprovider::Releases;
use crate::node_token::{NodeToken, NodeTokenFile};
use crate::round::{Along, Subject, goes_on_at};
use crate::runtime_list;
use crate::settings::Settings;
use crate::state::{self, Outcome, State};
use crate::tls;
use crate::tpm::{self, AkBlob, Tpm};

/// The attestor does not hold the boot log that was only named.
pub(crate) const BOOT_LOG_REQUIRED: &str = "boot-log-required";

/// The challenge is of no use; another one may be.
const STALE: [&str; 4] = [
    "challenge-expired",
    "challenge-unknown",
    "challenge-replayed",
    "round-overtaken",
];

/// Why a round brought no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no identity in the state folder.
    #[error("this host is not enrolled; run `touchstone-agent enrol --join-token FILE` first")]
    NotEnrolled,

    /// A nonce that is not 32 bytes long.
    #[error(
        "the attestor's challenge has a nonce of {0} bytes where 32 are expected; update the agent"
    )]
    Nonce(usize),

    /// A quote that is none.
    #[error("the TPM's quote cannot be read")]
    Quote(#[source] TpmFormatError),

    /// The evidence cannot be put into JSON.
    #[error("cannot write the evidence")]
    Evidence(#[source] serde_json::Error),

    /// The state folder.
    #[error(transparent)]
    State(#[from] state::Error),

    /// The TLS key.
    #[error(transparent)]
    Tls(#[from] tls::Error),

    /// The CA that the attestor or a join token names.
    #[error(transparent)]
    Authority(#[from] authority::NotABundle),

    /// Other CA certificates than the attestor told of.
    #[error(
        "what came in place of the attestor's CA is not what it told of; another attestor may have answered"
    )]
    OtherBundle,

    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] tpm::Error),

    /// What the kernel says about the boot.
    #[error(transparent)]
    Boot(#[from] boot::Error),

    /// What the kernel measured since.
    #[error(transparent)]
    Runtime(#[from] runtime_list::Error),

    /// The attestor.
    #[error(transparent)]
    Client(#[from] client::Error),
}

impl Error {
    /// How long the attestor asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Client(error) => error.retry_after(),
            _ => None,
        }
    }

    pub(crate) fn wants_new_challenge(&self) -> bool {
        matches!(self, Self::Client(error) if STALE.iter().any(|code| error.is_problem(code)))
    }
}

/// One round. See [`Agent`] for more than one.
///
/// # Errors
/// As [`Agent::open`] and [`Agent::attest`].
pub async fn attest_once(settings: &Settings) -> Result<Outcome, Error> {
    Agent::open(settings).await?.attest().await
}

/// What a round brought, and where the runtime list went on when it was read.
struct Answered {
    answer: RoundAnswer,
    goes_on_at: Option<u64>,
    /// SHA-256 of the CA certificates that are to be believed.
    ca: Option<Sha256Digest>,
}

/// An enrolled host that attests. It holds the state folder, the TPM's thread and the connection.
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
    state: State,
    identity: Identity,
    ak: AkBlob,
    tls_key: Sha256Digest,
    node_token: NodeTokenFile,
    tpm: Tpm,
    /// Another one once the attestor's CA is another.
    client: watch::Sender<Client>,
    challenge: Option<Challenge>,
    last: Option<Outcome>,
    /// Whether the state folder took the last outcome.
    keeps: bool,
}

impl Agent {
    /// Takes up the work where the state folder says that it was left.
    ///
    /// # Errors
    /// [`Error::NotEnrolled`]; [`Error::State`] if the folder is in use or exposed; [`Error::Tpm`].
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        let state = State::open(&settings.state)?;
        let records = state.records();
        let identity = records.identity()?.ok_or(Error::NotEnrolled)?;
        let (challenge, last) = (records.challenge()?, records.outcome()?);
        Ok(Self {
            settings: settings.clone(),
            node_token: NodeTokenFile::new(settings.node_token.clone()),
            ak: identity.keys.ak(),
            tls_key: identity.keys.tls.digest()?,
            client: watch::Sender::new(Client::new(
                &identity.server,
                &identity.ca,
                &identity.keys.tls,
            )?),
            tpm: Tpm::open(&settings.tcti).await?,
            state,
            identity,
            challenge,
            last,
            keeps: true,
        })
    }

    /// One round: answers the challenge at hand, or a new one, and keeps what comes of it. More rounds
    /// follow at once while the runtime list is larger than one message and the attestor takes it.
    ///
    /// # Errors
    /// What broke. A verdict, however bad, is an [`Outcome`].
    pub async fn attest(&mut self) -> Result<Outcome, Error> {
        loop {
            let Answered {
                answer,
                goes_on_at,
                ca,
            } = self.round().await?;
            let wanted = answer.challenge.runtime.map(|position| position.offset);
            let outcome = self.keep(answer);
            self.follow(ca).await;
            if goes_on_at.is_none() || goes_on_at != wanted {
                return Ok(outcome);
            }
        }
    }

    async fn round(&mut self) -> Result<Answered, Error> {
        let now = clock::now();
        let held = self.challenge.take();
        match held.filter(|challenge| challenge.expires_at > now) {
            None => self.answer_new().await,
            Some(challenge) => match self.answer(&challenge).await {
                Err(error) if error.wants_new_challenge() => self.answer_new().await,
                answer => answer,
            },
        }
    }

    /// What asks for keys beside the rounds, with the same TPM and the same identity. `round_due` is notified when the
    /// attestor asks for a round.
    #[must_use]
    pub(crate) fn releases(&self, round_due: Arc<Notify>) -> Releases {
        Releases {
            round_due,
            settings: self.settings.clone(),
            tpm: self.tpm.clone(),
            ak: self.ak.clone(),
            host: self.identity.host.clone(),
            tls_key: self.tls_key,
            client: self.client.subscribe(),
        }
    }

    /// Ends once the TPM has done what it was last asked, even if nobody waited for it: a TPM without a
    /// resource manager would keep the objects of a command that was cut off.
    pub async fn close(self) {
        let _ = self.tpm.location_tag().await;
    }

    async fn answer_new(&mut self) -> Result<Answered, Error> {
        let challenge = self.client().challenge().await?;
        self.answer(&challenge).await
    }

    async fn answer(&mut self, challenge: &Challenge) -> Result<Answered, Error> {
        let token = self.node_token.read();
        let token = token.as_ref();
        let along = Along {
            node_token: token.map(NodeToken::digest),
            ..Along::default()
        };
        let mut evidence = self.subject().answer(challenge, along).await?;
        let Round { answer, ca } = match self.send(&evidence, token).await {
            Err(Error::Client(error)) if error.is_problem(BOOT_LOG_REQUIRED) => {
                let whole = Along {
                    whole: true,
                    ..along
                };
                evidence = self.subject().answer(challenge, whole).await?;
                self.send(&evidence, token).await?
            }
            answer => answer?,
        };
        Ok(Answered {
            answer,
            goes_on_at: goes_on_at(&evidence),
            ca,
        })
    }

    async fn send(&self, evidence: &Evidence, token: Option<&NodeToken>) -> Result<Round, Error> {
        let body = serde_json::to_vec(evidence).map_err(Error::Evidence)?;
        Ok(self.client().round(&body, token).await?)
    }

    fn client(&self) -> Client {
        self.client.borrow().clone()
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            tpm: &self.tpm,
            ak: &self.ak,
            host: &self.identity.host,
            tls_key: &self.tls_key,
            boot_log: &self.settings.boot_log,
            ima_list: &self.settings.ima_list,
            boot_id: &self.settings.boot_id,
        }
    }

    /// The attestor has committed the round, so nothing that goes wrong from here on undoes it.
    fn keep(&mut self, answer: RoundAnswer) -> Outcome {
        let outcome = Outcome {
            host: self.identity.host.clone(),
            at: clock::now(),
            tier: answer.tier,
            findings: answer.findings,
            entry: answer.entry,
            result: answer.result,
            revoked: answer.revoked.0,
        };
        let kept = self
            .state
            .keep_challenge(&answer.challenge)
            .and_then(|()| self.state.keep_outcome(&outcome));
        self.tell_whether_kept(kept);
        tell(&outcome, self.last.as_ref());
        self.challenge = Some(answer.challenge);
        self.last = Some(outcome.clone());
        outcome
    }

    /// A folder that cannot be written is no reason to be silent: the next rounds rest on what is in memory.
    fn tell_whether_kept(&mut self, kept: Result<(), state::Error>) {
        match (&kept, self.keeps) {
            (Err(error), true) => {
                let error: &dyn std::error::Error = error;
                tracing::warn!(
                    error,
                    "the outcome is not kept; rounds go on, and the next start costs one request more"
                );
            }
            (Ok(()), false) => tracing::info!("outcomes are kept again"),
            _ => {}
        }
        self.keeps = kept.is_ok();
    }
}

/// Says what is new; a verdict that stays is nothing to hear about.
fn tell(outcome: &Outcome, last: Option<&Outcome>) {
    let (host, tier) = (&outcome.host, outcome.tier);
    if last.is_some_and(|last| last.tier == tier && last.findings == outcome.findings) {
        tracing::debug!(host.id = %host, appraisal.tier = %tier, "attested");
        return;
    }
    tracing::info!(host.id = %host, appraisal.tier = %tier, "attested");
    for finding in &outcome.findings {
        tracing::warn!(
            host.id = %host,
            finding.code = finding.code,
            subject = finding.subject,
            expected = finding.expected,
            observed = finding.observed,
            "the attestor found"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Problem;

    fn refused(code: &str) -> Error {
        let problem = Problem {
            status: 409,
            code: code.to_owned(),
            detail: String::new(),
            retry_after: None,
        };
        client::Error::from(problem).into()
    }

    #[test]
    fn only_a_stale_challenge_is_worth_another() {
        for code in STALE {
            assert!(refused(code).wants_new_challenge(), "{code}");
        }
        for code in [BOOT_LOG_REQUIRED, "evidence-refused", ""] {
            assert!(!refused(code).wants_new_challenge(), "{code}");
        }
        assert!(!Error::NotEnrolled.wants_new_challenge());
    }
}
