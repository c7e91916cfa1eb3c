//! Quarantine: genuine TPMs that nobody has called ours wait for an operator's word.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::VerifiedEndorsement;
use touchstone_evidence::host_id::HostId;

use super::platforms::PlatformRefusal;
use super::{EnrolmentError, Joining, MachineError, machines};
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::store::{InventoryEntry, StoreError, TpmDescription, Tx};

/// Why nothing was decided about a TPM in quarantine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuarantineError {
    #[error(
        "the quarantine has no endorsement key {0}; `touchstone host quarantine list` shows it"
    )]
    NotThere(Sha256Digest),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl QuarantineError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotThere(_) => "not-in-quarantine",
            Self::Machine(error) => error.code(),
            Self::Store(_) => "internal",
        }
    }
}

/// Keeps a TPM whose chain verified and whom the inventory does not know, nor its maker by a platform
/// certificate that holds; returns the refusal.
pub(super) async fn note(
    mut tx: Tx,
    endorsement: &VerifiedEndorsement,
    joining: &Joining,
    refusal: Option<PlatformRefusal>,
    now: i64,
) -> Result<EnrolmentError, StoreError> {
    let ek = endorsement.ek_digest();
    let tpm = TpmDescription::of(endorsement);
    let token = joining.token.id();
    let rejected = tx
        .note_in_quarantine(&ek, endorsement.class(), &tpm, &token, now)
        .await?;
    tx.commit().await?;
    Ok(match (rejected, refusal) {
        (true, _) => EnrolmentError::Rejected(ek),
        (false, Some(refusal)) => EnrolmentError::Platform(ek, refusal),
        (false, None) => EnrolmentError::NotInInventory(ek),
    })
}

/// Puts a TPM out of quarantine into the inventory as `host`; it enrols when it asks again.
pub(crate) async fn approve(
    attestor: &Attestor,
    actor: &Actor,
    ek: &Sha256Digest,
    host: HostId,
) -> Result<InventoryEntry, QuarantineError> {
    let now = clock::now();
    let entry = InventoryEntry {
        host,
        ek_digests: vec![*ek],
    };
    let mut tx = attestor.store.write().await?;
    if !tx.leave_quarantine(ek).await? {
        return Err(QuarantineError::NotThere(*ek));
    }
    machines::insert(&mut tx, &entry, now).await?;
    let event = Event::HostApproved {
        host: entry.host.clone(),
        ek_digest: *ek,
    };
    Entry::new(&event, actor, now)?.append(&mut tx).await?;
    tx.commit().await?;
    Ok(entry)
}

/// Says that a TPM in quarantine is not ours. It stays there, so that it does not come back as new.
pub(crate) async fn reject(
    attestor: &Attestor,
    actor: &Actor,
    ek: &Sha256Digest,
) -> Result<(), QuarantineError> {
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    if !tx.reject_in_quarantine(ek).await? {
        return Err(QuarantineError::NotThere(*ek));
    }
    tx.bar_ek(ek, now).await?;
    Entry::new(&Event::HostRejected { ek_digest: *ek }, actor, now)?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    Ok(())
}
