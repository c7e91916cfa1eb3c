//! A machine's identity: ended with all that rested on it, put under another TPM, or let in anew.

use std::collections::HashSet;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::{DOOR_SECONDS_MAX, MachineError, already, in_service, sorted};
use crate::attestor::Attestor;
use crate::audit::{self, Actor, Entry, Event, Reason};
use crate::clock;
use crate::enrollment::ending::Ending;
use crate::store::{End, InventoryEntry, MachineState, Tx};

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
