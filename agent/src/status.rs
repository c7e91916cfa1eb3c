//! What the state folder says, without asking TPM or attestor.

use std::collections::BTreeSet;

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::wire::Lease;

use crate::settings::Settings;
use crate::state::{self, Outcome, Records};
use crate::tls;

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
    })
}

/// One layer may have been opened for several manifests, and by several keys.
fn layers(leases: Vec<Lease>) -> usize {
    let layers: BTreeSet<_> = leases.iter().map(|lease| lease.layer).collect();
    layers.len()
}
