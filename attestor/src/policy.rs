//! Applying policy manifests: a broken set is refused and the old one stays in force.

use std::sync::Arc;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_policies::manifest::{ManifestError, PolicySet};

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::store::StoreError;

/// Why manifests were not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApplyError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "policy-broken",
            Self::Store(_) => "internal",
        }
    }
}

/// What came into force.
pub(crate) struct Applied {
    pub(crate) version: i64,
    pub(crate) digest: Sha256Digest,
}

/// Puts `manifests` into force as the next version. Verdicts reached before stand until they expire;
/// each host's next round is judged anew.
pub(crate) async fn apply(
    attestor: &Attestor,
    actor: &Actor,
    manifests: &str,
) -> Result<Applied, ApplyError> {
    let set = PolicySet::parse(manifests)?;
    let digest = set.digest;
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    let version = tx.add_policy(&digest.0, manifests, now).await?;
    let order = Entry::new(&Event::PolicyApplied { version, digest }, actor, now)?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    attestor.index.put_policies(order, Arc::new(set));
    Ok(Applied { version, digest })
}
