//! Enrolment: the attestor learns this TPM's keys, and this host learns who it is.
//!
//! The keys are kept before they are sent, the identity only once all is done: an enrolment that broke
//! off anywhere is simply done again, with the same keys.

use serde::Serialize;
use touchstone_evidence::encoded::Few;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::wire::{Activation, Enrolled, EnrolmentRequest, JoinToken};
use zeroize::Zeroize as _;

use crate::client::{self, Client};
use crate::identity::{Identity, Keys};
use crate::settings::Settings;
use crate::state::{self, State};
use crate::tls::{self, TlsKey};
use crate::tpm::{self, Endorsement, Tpm};

/// Why this host is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is, with another attestor.
    #[error(
        "this host is enrolled with `{enrolled}`, but the join token is for `{token}`; to change over, enrol with `--again`"
    )]
    OtherServer {
        /// Where it is enrolled.
        enrolled: String,
        /// What the token says.
        token: String,
    },

    /// The state folder.
    #[error(transparent)]
    State(#[from] state::Error),

    /// The TLS key.
    #[error(transparent)]
    Tls(#[from] tls::Error),

    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] tpm::Error),

    /// The attestor.
    #[error(transparent)]
    Client(#[from] client::Error),
}

impl Error {
    /// Whether other keys than the kept ones may succeed.
    fn asks_for_new_keys(&self) -> bool {
        match self {
            // The kept attestation key is of another TPM, or of this one before a TPM2_Clear.
            Self::Tpm(tpm::Error::AkLost(_)) => true,
            // Their time is over, or they are another host's.
            Self::Client(error) => ["key-used-before", "ak-in-use", "tls-key-in-use"]
                .iter()
                .any(|code| error.is_problem(code)),
            _ => false,
        }
    }
}

/// Who this host is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Enrolment {
    /// Its name, out of the attestor's inventory.
    pub host: HostId,
    /// The attestor.
    pub server: String,
    /// False if it had been enrolled before, and nothing was done.
    pub new: bool,
}

/// Enrols this host with the attestor of the join token. A host that is enrolled there already is left as
/// it is, unless `again` asks for new keys, as after a TPM2_Clear.
///
/// # Errors
/// [`Error::OtherServer`] if it is enrolled elsewhere; else what broke. Doing it again is always safe.
pub async fn enrol(
    settings: &Settings,
    token: &JoinToken,
    again: bool,
) -> Result<Enrolment, Error> {
    let state = State::open(&settings.state)?;
    if let (Some(identity), false) = (state.records().identity()?, again) {
        return unchanged(identity, token);
    }
    let tpm = Tpm::open(&settings.tcti).await?;
    let endorsement = tpm.endorsement().await?;
    let enrolled = match with_kept_keys(&state, &tpm, &endorsement, token).await {
        Err(error) if error.asks_for_new_keys() => {
            state.drop_draft()?;
            with_kept_keys(&state, &tpm, &endorsement, token).await?
        }
        enrolled => enrolled?,
    };
    tracing::info!(host.id = %enrolled.host, server = token.server, "enrolled");
    Ok(Enrolment {
        host: enrolled.host,
        server: token.server.clone(),
        new: true,
    })
}

fn unchanged(identity: Identity, token: &JoinToken) -> Result<Enrolment, Error> {
    if identity.server != token.server {
        return Err(Error::OtherServer {
            enrolled: identity.server,
            token: token.server.clone(),
        });
    }
    Ok(Enrolment {
        host: identity.host,
        server: identity.server,
        new: false,
    })
}

/// Enrols the keys of an attempt that broke off, or else new ones.
async fn with_kept_keys(
    state: &State,
    tpm: &Tpm,
    endorsement: &Endorsement,
    token: &JoinToken,
) -> Result<Enrolled, Error> {
    let keys = match state.records().draft()? {
        Some(keys) if keys.ak().ek.template == endorsement.ek.template => keys,
        // None, or keys under an EK that is no longer the one to enrol with.
        _ => draft(state, tpm).await?,
    };
    let client = Client::new(&token.server, &token.ca, &keys.tls)?;
    let exchange = || exchange(&client, tpm, endorsement, &keys, &token.secret);
    let enrolled = match exchange().await {
        // Whether or not it arrived: the attestor takes the same keys again.
        Err(Error::Client(error)) if error.may_have_arrived() => exchange().await?,
        enrolled => enrolled?,
    };
    let identity = Identity {
        host: enrolled.host.clone(),
        server: token.server.clone(),
        ca: token.ca.clone(),
        keys,
    };
    state.keep_identity(&identity, &enrolled.challenge)?;
    Ok(enrolled)
}

async fn draft(state: &State, tpm: &Tpm) -> Result<Keys, Error> {
    let keys = Keys::new(TlsKey::generate()?, tpm.create_ak().await?);
    state.keep_draft(&keys)?;
    Ok(keys)
}

/// Two requests: here are our keys; here is the proof that one TPM holds both.
async fn exchange(
    client: &Client,
    tpm: &Tpm,
    endorsement: &Endorsement,
    keys: &Keys,
    secret: &str,
) -> Result<Enrolled, Error> {
    let ak = keys.ak();
    let request = EnrolmentRequest {
        ek_certificate: endorsement.certificate.clone().into(),
        intermediates: Few(endorsement
            .intermediates
            .iter()
            .map(|der| der.clone().into())
            .collect()),
        platform_certificate: endorsement.platform_certificate.clone().map(Into::into),
        ek_public: endorsement.public.clone().into(),
        ak_public: ak.public.clone().into(),
    };
    let challenge = client.enrol(secret, &request).await?;
    let proof = tpm
        .activate(&ak, &challenge.credential, &challenge.encrypted_seed)
        .await?;
    let mut activation = Activation {
        enrolment: challenge.enrolment,
        secret: proof.to_vec().into(),
    };
    let enrolled = client.activate(secret, &activation).await;
    activation.secret.0.zeroize();
    Ok(enrolled?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use crate::tpm::AkBlob;
    use touchstone_evidence::pcr::PcrSelection;
    use touchstone_evidence::wire::Challenge;

    fn token(server: &str) -> JoinToken {
        JoinToken {
            server: server.to_owned(),
            ca: String::new(),
            secret: String::new(),
        }
    }

    #[tokio::test]
    async fn an_enrolled_host_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            state: dir.path().join("state"),
            // Nothing here may touch it.
            tcti: "none".to_owned(),
            ..Settings::default()
        };
        let state = State::open(&settings.state).unwrap();
        let ak = AkBlob {
            public: vec![1],
            private: vec![2],
            ek: tpm::EkReference::default(),
        };
        let identity = Identity {
            host: "de-1".parse().unwrap(),
            server: "https://a".to_owned(),
            ca: String::new(),
            keys: Keys::new(TlsKey::generate().unwrap(), ak),
        };
        let challenge = Challenge {
            nonce: vec![7; 32].into(),
            pcrs: PcrSelection::DEFAULT,
            expires_at: 1,
            known_boot_log: None,
            runtime: None,
            location_tag: None,
        };
        state.keep_identity(&identity, &challenge).unwrap();
        drop(state);

        let enrolment = enrol(&settings, &token("https://a"), false).await.unwrap();
        assert!(enrolment.host.as_str() == "de-1" && !enrolment.new);
        let elsewhere = enrol(&settings, &token("https://b"), false).await;
        assert!(matches!(elsewhere, Err(Error::OtherServer { .. })));
    }
}
