//! A host that can lie: it holds an enrolled identity and a real TPM, and says what it is told to.

mod exchange;
mod release;
mod statements;

use std::path::PathBuf;

use touchstone_agent::client::Client;
use touchstone_agent::identity::Identity;
use touchstone_agent::state::Records;
use touchstone_agent::tpm::Tpm;
use touchstone_agent::{Outcome, Settings, attest_once, enrol};
use touchstone_evidence::result::TrustTier;
use touchstone_evidence::wire::{Challenge, JoinToken};

use super::{Error, Result};

pub use exchange::{Said, code, codes};
pub(super) use exchange::{accepted, said};

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
