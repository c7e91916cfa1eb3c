//! The life of a machine in an operator's hands: added, changed, out of service, taken out.
//!
//! Here is what its acts share: why one is refused, and what a machine's keys are.

mod import;
mod inventory;
mod service;

use std::collections::BTreeMap;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use crate::store::{InventoryEntry, MachineState, StoreError, Tx};

pub(crate) use import::import_machines;
pub(super) use inventory::insert;
pub(crate) use inventory::{add_eks, add_machine};
pub(crate) use service::{open_reenrolment, remove_machine, replace_tpm, retire_host};

/// Most EKs that one TPM has.
const EKS_MAX: usize = 16;
/// Longest time for which a door stays open, seconds: a week.
const DOOR_SECONDS_MAX: i64 = 7 * 24 * 3600;

/// Why an operator's act about a machine was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    #[error("a machine has 1 to {EKS_MAX} endorsement keys, not {0}")]
    EkCount(usize),
    #[error(
        "the inventory has a machine called `{0}`, or one with the same endorsement key, already; see \
         `touchstone inventory show`"
    )]
    InInventory(HostId),
    #[error("`{1}` has the endorsement key {0} already; see `touchstone inventory show {1}`")]
    EkInInventory(Sha256Digest, HostId),
    #[error("nothing was imported: {}", import::faults(.0))]
    Import(BTreeMap<usize, String>),
    #[error("the inventory has no machine called `{0}`; add it with `touchstone inventory add`")]
    Unknown(HostId),
    #[error(
        "`{0}` is out of service; `touchstone host replace` gives it another TPM, `touchstone inventory remove {0}` \
         and then `inventory add` take it back with the one that it had"
    )]
    Retired(HostId),
    #[error("`{0}` is not enrolled, so it can enrol as it is")]
    NotEnrolled(HostId),
    #[error(
        "`{0}` has a TPM with the endorsement key {1} already, so nothing was replaced; `touchstone host \
         reenrol` lets it enrol with other keys"
    )]
    SameTpm(HostId, Sha256Digest),
    #[error(
        "`{0}` is out of service and has a TPM with the endorsement key {1} already, so nothing was replaced; \
         `touchstone inventory remove {0}` and then `inventory add` take it back with that one"
    )]
    SameTpmRetired(HostId, Sha256Digest),
    #[error("a host may be let in for 1 to {DOOR_SECONDS_MAX} seconds, not {0}")]
    DoorSeconds(i64),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MachineError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::EkCount(_) => "ek-count",
            Self::InInventory(_) | Self::EkInInventory(..) => "already-in-inventory",
            Self::Import(_) => "inventory-import-refused",
            Self::Unknown(_) => "host-not-in-inventory",
            Self::Retired(_) => "host-retired",
            Self::NotEnrolled(_) => "host-not-enrolled",
            Self::SameTpm(..) | Self::SameTpmRetired(..) => "replacement-of-same-tpm",
            Self::DoorSeconds(_) => "reenrolment-lifetime",
            Self::Store(_) => "internal",
        }
    }
}

/// The EKs of a machine that is in service.
async fn in_service(tx: &mut Tx, host: &HostId) -> Result<Vec<Sha256Digest>, MachineError> {
    match tx.machine_state(host).await? {
        Some(MachineState::Active) => Ok(tx.eks_of(host).await?),
        Some(MachineState::Retired) => Err(MachineError::Retired(host.clone())),
        Some(MachineState::Removed) | None => Err(MachineError::Unknown(host.clone())),
    }
}

/// What of `host` and `eks` was there already: another machine's key before the name.
async fn already(
    tx: &mut Tx,
    host: &HostId,
    eks: &[Sha256Digest],
) -> Result<MachineError, StoreError> {
    for ek in eks {
        match tx.machine_of(ek).await? {
            Some((other, _)) if other != *host => {
                return Ok(MachineError::EkInInventory(*ek, other));
            }
            _ => {}
        }
    }
    Ok(MachineError::InInventory(host.clone()))
}

fn sorted(mut entry: InventoryEntry) -> Result<InventoryEntry, MachineError> {
    entry.ek_digests.sort_unstable();
    entry.ek_digests.dedup();
    match entry.ek_digests.len() {
        1..=EKS_MAX => Ok(entry),
        count => Err(MachineError::EkCount(count)),
    }
}
