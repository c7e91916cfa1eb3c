//! Machines one by one: added, and given keys that were found later.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

use super::{MachineError, already, in_service, sorted};
use crate::attestor::Attestor;
use crate::audit::{self, Actor, Entry, Event};
use crate::clock;
use crate::location;
use crate::store::{InventoryEntry, Tx};

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
pub(in crate::enrollment) async fn insert(
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
