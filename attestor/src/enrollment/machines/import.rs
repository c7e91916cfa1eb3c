//! Many machines at once, all or none.

use std::collections::{BTreeMap, HashMap, HashSet};

use touchstone_evidence::digest::Sha256Digest;

use super::{MachineError, sorted};
use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::store::{InventoryEntry, MachineState, StoreError};

/// Machines that one audit entry of an import names.
const MACHINES_PER_ENTRY: usize = 256;
/// Most machines of an import that are named in its refusal.
const FAULTS_SHOWN: usize = 20;

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

/// What is wrong with which machine, the first of them.
pub(super) fn faults(faults: &BTreeMap<usize, String>) -> String {
    let shown = faults.iter().take(FAULTS_SHOWN);
    let mut lines: Vec<String> = shown
        .map(|(number, fault)| format!("machine {number}: {fault}"))
        .collect();
    if let more @ 1.. = faults.len().saturating_sub(FAULTS_SHOWN) {
        lines.push(format!("and {more} more"));
    }
    lines.join("; ")
}
