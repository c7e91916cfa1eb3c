//! Whether pods that run are what their workloads were made of; looked at anew where the pod, the policies or what is
//! recorded may have changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_policies::admit::workload::{changes, made_of};

use super::Moment;
use super::pods::{Known, Looked, Meant};
use crate::attestor::Attestor;
use crate::store::StoreError;
use crate::workloads;

/// How long a pod goes without a record before one is looked for again: its own replica may have made it, or another.
const RETRY: Duration = Duration::from_secs(60);
/// How long a workload that is seen all the time is not said to be.
const SEEN: Duration = Duration::from_secs(3600);
/// Most pods that are looked at anew in one round.
const LOOKS_MAX: usize = 500;
/// Most workloads that are said to be seen in one round.
const SAID_MAX: usize = 500;

/// Pods that were compared, by uid.
#[derive(Default)]
pub(super) struct Compared(HashMap<String, Seen>);

struct Seen {
    /// The pod, as it was seen.
    known: Arc<Known>,
    at: Instant,
    /// The workload's id, if there is a record of it.
    recorded: Option<Sha256Digest>,
    said: Option<Instant>,
    refusals: Vec<Finding>,
}

impl Seen {
    fn is_good(&self, known: &Arc<Known>, now: Instant) -> bool {
        let lasting = self.recorded.is_some() || now.duration_since(self.at) < RETRY;
        Arc::ptr_eq(&self.known, known) && lasting
    }
}

impl Compared {
    /// Looks at all pods that a policy is for. What cannot be read stays as it was seen.
    pub(super) async fn round(&mut self, attestor: &Attestor, looked: &Looked, at: Moment) {
        let mut before = std::mem::take(&mut self.0);
        let mut looks = 0;
        for known in &looked.bound {
            let Some(meant) = &known.meant else {
                continue;
            };
            let seen = before.remove_entry(known.uid());
            let (uid, seen) = match seen {
                Some((uid, seen)) => (uid, Some(seen)),
                None => (known.uid().to_owned(), None),
            };
            let good = seen.as_ref();
            let good = good.is_some_and(|seen| seen.is_good(known, at.instant));
            // What is too much for one round is looked at in the next one.
            let seen = match good || looks == LOOKS_MAX {
                true => seen,
                false => {
                    looks += 1;
                    let anew = look(attestor, known, meant, at.instant).await;
                    anew.map_or_else(|error| told(&error, seen), Some)
                }
            };
            if let Some(seen) = seen {
                self.0.insert(uid, seen);
            }
        }
        if let Err(error) = self.say_seen(attestor, at).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "which workloads are seen was not written");
        }
    }

    /// Why this pod may not go on: it is not what its workload was made of.
    pub(super) fn refusals(&self, uid: &str) -> &[Finding] {
        self.0.get(uid).map_or(&[], |seen| &seen.refusals)
    }

    /// So that records of what runs outlive others.
    async fn say_seen(&mut self, attestor: &Attestor, at: Moment) -> Result<(), StoreError> {
        let due = |seen: &&mut Seen| {
            seen.said
                .is_none_or(|said| at.instant.duration_since(said) >= SEEN)
        };
        let recorded = self.0.values_mut().filter(|seen| seen.recorded.is_some());
        let due: Vec<&mut Seen> = recorded.filter(due).take(SAID_MAX).collect();
        if due.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<Sha256Digest> = due.iter().filter_map(|seen| seen.recorded).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut tx = attestor.store.write().await?;
        tx.see_workloads(&ids, at.now).await?;
        tx.commit().await?;
        for seen in due {
            seen.said = Some(at.instant);
        }
        Ok(())
    }
}

/// Says why a pod was not looked at; what is known of it stays.
fn told(error: &StoreError, known: Option<Seen>) -> Option<Seen> {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "what a workload was made of cannot be read");
    known
}

async fn look(
    attestor: &Attestor,
    known: &Arc<Known>,
    meant: &Meant,
    at: Instant,
) -> Result<Seen, StoreError> {
    let mut seen = Seen {
        known: Arc::clone(known),
        at,
        recorded: None,
        said: None,
        refusals: Vec::new(),
    };
    let facts = &meant.facts;
    let Some(of) = &facts.workload else {
        return Ok(seen);
    };
    if let Some(record) = attestor.workloads.of(&facts.namespace, of).await? {
        seen.recorded = Some(workloads::id(&attestor.cluster, &facts.namespace, of));
        seen.refusals = changes(&record.made, &made_of(facts));
    }
    Ok(seen)
}
