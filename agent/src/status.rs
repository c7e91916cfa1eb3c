//! What the state folder says, without asking TPM or attestor.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::wire::Lease;

use crate::node_token;
use crate::settings::Settings;
use crate::state::{self, Outcome, Records};
use crate::tls;
use crate::trouble::chain;

/// Why the state cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder.
    #[error(transparent)]
    State(#[from] state::Error),

    /// The TLS key.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// This host, as it knows itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its enrolment, if it has one.
    pub enrolled: Option<EnrolledAs>,
    /// Whether an enrolment has begun and is to be done again.
    pub enrolment_pending: bool,
    /// What the last round brought; it may have expired since.
    pub last: Option<Outcome>,
    /// How many layers of encrypted images this host was given keys for; they may lie decrypted on its disk.
    pub layers_opened: usize,
    /// The service account token, where one is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_token: Option<NodeTokenStatus>,
}

/// What there is of the service account token, without the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeTokenStatus {
    /// SHA-256 of it, as the audit log names it; absent: rounds go without.
    pub digest: Option<Sha256Digest>,
    /// Why they do.
    pub error: Option<String>,
}

/// An enrolment, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnrolledAs {
    /// Its name.
    pub host: HostId,
    /// The attestor.
    pub server: String,
    /// SHA-256 of the SubjectPublicKeyInfo of its TLS key.
    pub tls_key: Sha256Digest,
}

/// Reads the state. Takes no lock, so it works beside a running agent.
///
/// # Errors
/// [`Error::State`] if files are damaged or exposed.
pub fn status(settings: &Settings) -> Result<Status, Error> {
    let records = Records::at(&settings.state);
    let enrolled = match records.identity()? {
        Some(identity) => Some(EnrolledAs {
            tls_key: identity.keys.tls.digest()?,
            host: identity.host,
            server: identity.server,
        }),
        None => None,
    };
    Ok(Status {
        enrolled,
        enrolment_pending: records.draft()?.is_some(),
        last: records.outcome()?,
        layers_opened: layers(records.leases()?),
        node_token: settings.node_token.as_deref().map(token),
    })
}

fn token(path: &Path) -> NodeTokenStatus {
    match node_token::read(path) {
        Ok(token) => NodeTokenStatus {
            digest: Some(token.digest()),
            error: None,
        },
        Err(error) => NodeTokenStatus {
            digest: None,
            error: Some(chain(&error)),
        },
    }
}

/// One layer may have been opened for several manifests, and by several keys.
fn layers(leases: Vec<Lease>) -> usize {
    let layers: BTreeSet<_> = leases.iter().map(|lease| lease.layer).collect();
    layers.len()
}
