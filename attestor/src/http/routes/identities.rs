//! Who a host is, beside its verdict: its TPM, its state, how often it came with new keys.

use std::collections::HashMap;

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::{RootClass, TpmName};
use touchstone_evidence::host_id::HostId;

use crate::store::{HostRecord, MachineState, StoreError, Tx};

/// Who a host is.
#[derive(Serialize)]
pub(super) struct Identity {
    /// `enrolled`, `awaiting-re-enrolment` or `retired`.
    state: &'static str,
    /// Every EK of its TPM.
    ek_digests: Vec<Sha256Digest>,
    /// The one that it enrolled with.
    ek_digest: Option<Sha256Digest>,
    root_class: Option<RootClass>,
    /// What its EK certificate says.
    tpm: Option<TpmName>,
    /// How often it enrolled anew under the same TPM.
    reenrolled: i64,
    /// Until when it may enrol with other keys.
    reenrolment_until: Option<i64>,
}

/// What is known beside the hosts' own rows.
pub(super) struct Identities {
    machines: HashMap<HostId, (Vec<Sha256Digest>, MachineState)>,
    counts: HashMap<HostId, i64>,
    doors: HashMap<HostId, i64>,
}

impl Identities {
    /// Of all hosts.
    pub(super) async fn read(tx: &mut Tx, now: i64) -> Result<Self, StoreError> {
        let machines = tx.inventory().await?.into_iter();
        Ok(Self {
            machines: machines
                .map(|(entry, state)| (entry.host, (entry.ek_digests, state)))
                .collect(),
            counts: tx.reenrolled_counts().await?.into_iter().collect(),
            doors: tx.open_reenrolments(now).await?.into_iter().collect(),
        })
    }

    /// Of one host.
    pub(super) async fn of(tx: &mut Tx, host: &HostId, now: i64) -> Result<Self, StoreError> {
        let mut all = Self::nothing();
        if let Some(state) = tx.machine_state(host).await? {
            let eks = tx.eks_of_any(host, state).await?;
            all.machines.insert(host.clone(), (eks, state));
        }
        let count = tx.reenrolled_count(host).await?;
        all.counts.insert(host.clone(), count);
        if let Some(until) = tx.open_reenrolment_of(host, now).await? {
            all.doors.insert(host.clone(), until);
        }
        Ok(all)
    }

    fn nothing() -> Self {
        Self {
            machines: HashMap::new(),
            counts: HashMap::new(),
            doors: HashMap::new(),
        }
    }

    /// Machines out of service.
    pub(super) fn retired(&self) -> Vec<HostId> {
        let machines = self.machines.iter();
        machines
            .filter(|(_, (_, state))| *state == MachineState::Retired)
            .map(|(host, _)| host.clone())
            .collect()
    }

    /// Takes out what is known of one.
    pub(super) fn take(&mut self, host: &HostId, record: Option<&HostRecord>) -> Identity {
        let (ek_digests, _) = self
            .machines
            .remove(host)
            .unwrap_or((Vec::new(), MachineState::Removed));
        let door = self.doors.remove(host);
        Identity {
            state: match (record, door) {
                (None, _) => "retired",
                (Some(_), Some(_)) => "awaiting-re-enrolment",
                (Some(_), None) => "enrolled",
            },
            ek_digests,
            ek_digest: record.map(|record| record.identity.ek_digest),
            root_class: record.map(|record| record.identity.root_class),
            tpm: record.and_then(|record| record.tpm.clone()),
            reenrolled: self.counts.remove(host).unwrap_or(0),
            reenrolment_until: door,
        }
    }
}
