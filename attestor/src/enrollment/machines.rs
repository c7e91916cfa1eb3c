//! The life of a machine in an operator's hands: added, changed, out of service, taken out.

use std::collections::{BTreeMap, HashMap, HashSet};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::ending::Ending;
use crate::attestor::Attestor;
use crate::audit::{self, Actor, Entry, Event, Reason};
use crate::clock;
use crate::location;
use crate::store::{End, InventoryEntry, MachineState, StoreError, Tx};

/// Most EKs that one TPM has.
const EKS_MAX: usize = 16;
/// Machines that one audit entry of an import names.
const MACHINES_PER_ENTRY: usize = 256;
/// Most machines of an import that are named in its refusal.
const FAULTS_SHOWN: usize = 20;
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
    #[error("nothing was imported: {}", faults(.0))]
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

fn faults(faults: &BTreeMap<usize, String>) -> String {
    let shown = faults.iter().take(FAULTS_SHOWN);
    let mut lines: Vec<String> = shown
        .map(|(number, fault)| format!("machine {number}: {fault}"))
        .collect();
    if let more @ 1.. = faults.len().saturating_sub(FAULTS_SHOWN) {
        lines.push(format!("and {more} more"));
    }
    lines.join("; ")
}

/// Adds a machine to the inventory.
pub(crate) async fn add_machine(
    attestor: &Attestor,
    actor: &Actor,
    entry: InventoryEntry,
) -> Result<InventoryEntry, MachineError> {
    let entry = sorted(entry)?;
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    insert(&mut tx, &entry, now).await?;
    let event = Event::InventoryAdded {
        host: entry.host.clone(),
        ek_digests: entry.ek_digests.clone(),
    };
    audit::append(&mut tx, &event, actor, now).await?;
    tx.commit().await?;
    Ok(entry)
}

/// Puts one machine into the inventory, and its EKs out of quarantine.
pub(super) async fn insert(
    tx: &mut Tx,
    entry: &InventoryEntry,
    now: i64,
) -> Result<(), MachineError> {
    if !tx.add_inventory(std::slice::from_ref(entry), now).await? {
        return Err(already(tx, &entry.host, &entry.ek_digests).await?);
    }
    for ek in &entry.ek_digests {
        tx.leave_quarantine(ek).await?;
    }
    Ok(())
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

/// Adds many machines, all or none. Errors count machines from 1.
pub(crate) async fn import_machines(
    attestor: &Attestor,
    actor: &Actor,
    entries: Vec<InventoryEntry>,
) -> Result<usize, MachineError> {
    let entries = consistent(entries)?;
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    if !tx.add_inventory(&entries, now).await? {
        drop(tx);
        return Err(MachineError::Import(known(attestor, &entries).await?));
    }
    for part in entries.chunks(MACHINES_PER_ENTRY) {
        let machines = part
            .iter()
            .map(|entry| (entry.host.clone(), entry.ek_digests.clone()))
            .collect();
        audit::append(&mut tx, &Event::InventoryImported { machines }, actor, now).await?;
    }
    // Machines that asked before they were known wait no longer.
    let waiting = tx.quarantine().await?.into_iter();
    let waiting: HashSet<Sha256Digest> = waiting.map(|one| one.ek_digest).collect();
    for ek in entries.iter().flat_map(|entry| &entry.ek_digests) {
        if waiting.contains(ek) {
            tx.leave_quarantine(ek).await?;
        }
    }
    tx.commit().await?;
    Ok(entries.len())
}

/// Each entry sorted, and no name and no EK twice.
fn consistent(entries: Vec<InventoryEntry>) -> Result<Vec<InventoryEntry>, MachineError> {
    let mut faults = BTreeMap::new();
    let mut names = HashMap::new();
    let mut eks = HashMap::new();
    let mut checked = Vec::with_capacity(entries.len());
    for (number, entry) in (1..).zip(entries) {
        let entry = match sorted(entry) {
            Ok(entry) => entry,
            Err(error) => {
                faults.insert(number, error.to_string());
                continue;
            }
        };
        if let Some(first) = names.insert(entry.host.clone(), number) {
            faults.insert(
                number,
                format!("`{}` is machine {first} already", entry.host),
            );
        }
        for ek in &entry.ek_digests {
            if let Some(first) = eks.insert(*ek, number) {
                faults.insert(number, format!("{ek} is of machine {first} already"));
            }
        }
        checked.push(entry);
    }
    match faults.is_empty() {
        true => Ok(checked),
        false => Err(MachineError::Import(faults)),
    }
}

/// Which of `entries` the inventory has already.
async fn known(
    attestor: &Attestor,
    entries: &[InventoryEntry],
) -> Result<BTreeMap<usize, String>, StoreError> {
    let mut tx = attestor.store.read().await?;
    let mut faults = BTreeMap::new();
    for (number, entry) in (1..).zip(entries) {
        if tx
            .machine_state(&entry.host)
            .await?
            .is_some_and(|state| state != MachineState::Removed)
        {
            faults.insert(
                number,
                format!("`{}` is in the inventory already", entry.host),
            );
        }
        for ek in &entry.ek_digests {
            if let Some((host, _)) = tx.machine_of(ek).await? {
                faults.insert(number, format!("{ek} is of `{host}` already"));
            }
        }
        if faults.len() > FAULTS_SHOWN {
            break;
        }
    }
    Ok(faults)
}

/// Adds EKs to a machine whose TPM turned out to have more. Its location tag names the old set, so it is void,
/// and with it a verdict that says where it is.
pub(crate) async fn add_eks(
    attestor: &Attestor,
    actor: &Actor,
    host: &HostId,
    eks: Vec<Sha256Digest>,
) -> Result<InventoryEntry, MachineError> {
    let added = sorted(InventoryEntry {
        host: host.clone(),
        ek_digests: eks,
    })?
    .ek_digests;
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    let mut known = in_service(&mut tx, host).await?;
    let pairs: Vec<_> = added.iter().map(|ek| (ek, host)).collect();
    if !tx.add_eks(&pairs).await? {
        return Err(already(&mut tx, host, &added).await?);
    }
    for ek in &added {
        tx.leave_quarantine(ek).await?;
    }
    known.extend(&added);
    let entry = sorted(InventoryEntry {
        host: host.clone(),
        ek_digests: known,
    })?;
    tx.void_tag(host, now).await?;
    tx.forget_unanswered_challenges(host).await?;
    let event = Event::InventoryEksAdded {
        host: host.clone(),
        ek_digests: added,
    };
    let order = Entry::new(&event, actor, now)?.append(&mut tx).await?;
    let voided = location::void_place(&mut tx, host, None).await?;
    tx.commit().await?;
    if let Some(voided) = voided {
        let standing = voided.standing(host);
        attestor.index.put_host(order, standing, voided.entry, now);
    }
    Ok(entry)
}

/// Takes a machine out of the inventory. Its name and its TPM may come again, as a new machine.
pub(crate) async fn remove_machine(
    attestor: &Attestor,
    actor: &Actor,
    host: &HostId,
    reason: Option<Reason>,
) -> Result<(), MachineError> {
    let mut tx = attestor.store.write().await?;
    match tx.machine_state(host).await? {
        None | Some(MachineState::Removed) => return Err(MachineError::Unknown(host.clone())),
        Some(MachineState::Active | MachineState::Retired) => {}
    }
    tx.drop_eks(host, clock::now()).await?;
    let event = Event::InventoryRemoved {
        host: host.clone(),
        reason,
    };
    end(attestor, actor, tx, host, End::Removed, &event).await
}

/// Takes a host out of service. Its name and its EKs stay taken.
pub(crate) async fn retire_host(
    attestor: &Attestor,
    actor: &Actor,
    host: &HostId,
    reason: Option<Reason>,
) -> Result<(), MachineError> {
    let mut tx = attestor.store.write().await?;
    in_service(&mut tx, host).await?;
    let event = Event::HostRetired {
        host: host.clone(),
        reason,
    };
    end(attestor, actor, tx, host, End::Retired, &event).await
}

/// Puts another TPM under a name, in service or not: all that the old one had is void.
pub(crate) async fn replace_tpm(
    attestor: &Attestor,
    actor: &Actor,
    host: &HostId,
    eks: Vec<Sha256Digest>,
    reason: Option<Reason>,
) -> Result<InventoryEntry, MachineError> {
    let entry = sorted(InventoryEntry {
        host: host.clone(),
        ek_digests: eks,
    })?;
    let mut tx = attestor.store.write().await?;
    let state = match tx.machine_state(host).await? {
        None | Some(MachineState::Removed) => return Err(MachineError::Unknown(host.clone())),
        Some(state @ (MachineState::Active | MachineState::Retired)) => state,
    };
    // A TPM that it has is no other one, and an act that is done twice must not end what came between.
    let known: HashSet<_> = tx.eks_of_any(host, state).await?.into_iter().collect();
    if let Some(ek) = entry.ek_digests.iter().find(|ek| known.contains(ek)) {
        let (host, ek) = (host.clone(), *ek);
        return Err(match state {
            MachineState::Retired => MachineError::SameTpmRetired(host, ek),
            _ => MachineError::SameTpm(host, ek),
        });
    }
    tx.drop_eks(host, clock::now()).await?;
    let pairs: Vec<_> = entry.ek_digests.iter().map(|ek| (ek, host)).collect();
    if !tx.add_eks(&pairs).await? {
        return Err(already(&mut tx, host, &entry.ek_digests).await?);
    }
    for ek in &entry.ek_digests {
        tx.leave_quarantine(ek).await?;
    }
    let event = Event::HostReplaced {
        host: host.clone(),
        ek_digests: entry.ek_digests.clone(),
        reason,
    };
    end(attestor, actor, tx, host, End::Replaced, &event).await?;
    Ok(entry)
}

/// Lets a host enrol once with other keys under its known TPM; returns until when.
pub(crate) async fn open_reenrolment(
    attestor: &Attestor,
    actor: &Actor,
    host: &HostId,
    seconds: i64,
    reason: Option<Reason>,
) -> Result<i64, MachineError> {
    if !(1..=DOOR_SECONDS_MAX).contains(&seconds) {
        return Err(MachineError::DoorSeconds(seconds));
    }
    let now = clock::now();
    let expires_at = now.saturating_add(seconds);
    let mut tx = attestor.store.write().await?;
    in_service(&mut tx, host).await?;
    if tx.host(host).await?.is_none() {
        return Err(MachineError::NotEnrolled(host.clone()));
    }
    tx.open_reenrolment(host, expires_at).await?;
    let event = Event::ReenrolmentOpened {
        host: host.clone(),
        expires_at,
        reason,
    };
    audit::append(&mut tx, &event, actor, now).await?;
    tx.commit().await?;
    Ok(expires_at)
}

/// Ends the live identity of `host`, if it has one, and all that rested on it: commit, then publish.
async fn end(
    attestor: &Attestor,
    actor: &Actor,
    mut tx: Tx,
    host: &HostId,
    end: End,
    event: &Event,
) -> Result<(), MachineError> {
    let now = clock::now();
    let state = match end {
        End::Removed => MachineState::Removed,
        End::Retired => MachineState::Retired,
        End::Replaced | End::Reenrolled => MachineState::Active,
    };
    tx.set_machine_state(host, state).await?;
    if let Some(record) = tx.host(host).await? {
        tx.end_identity(&record, end, now).await?;
    }
    tx.void_what_rests_on(host, now).await?;
    tx.forget_enrolments(host).await?;
    let entry = Entry::new(event, actor, now)?;
    let order = entry.append(&mut tx).await?;
    tx.commit().await?;
    Ending::new(host.clone(), end, order, entry.leaf()).publish(attestor, now);
    Ok(())
}

/// The EKs of a machine that is in service.
async fn in_service(tx: &mut Tx, host: &HostId) -> Result<Vec<Sha256Digest>, MachineError> {
    match tx.machine_state(host).await? {
        Some(MachineState::Active) => Ok(tx.eks_of(host).await?),
        Some(MachineState::Retired) => Err(MachineError::Retired(host.clone())),
        Some(MachineState::Removed) | None => Err(MachineError::Unknown(host.clone())),
    }
}

fn sorted(mut entry: InventoryEntry) -> Result<InventoryEntry, MachineError> {
    entry.ek_digests.sort_unstable();
    entry.ek_digests.dedup();
    match entry.ek_digests.len() {
        1..=EKS_MAX => Ok(entry),
        count => Err(MachineError::EkCount(count)),
    }
}
