//! Whether pods that run are what their workloads were made of; looked at anew where the pod, the policies or what is
//! recorded may have changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_policies::admit::workload::{changes, made_of};
use touchstone_policies::manifest::PolicySet;

use super::Moment;
use super::pods::{Known, Looked};
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
    /// The policies that it was seen with.
    policy_digest: Sha256Digest,
    at: Instant,
    /// The workload's id, if there is a record of it.
    recorded: Option<Sha256Digest>,
    said: Option<Instant>,
    refusals: Vec<Finding>,
    /// Policies that are for it.
    policies: Vec<String>,
    /// Those that were, and that it left where nobody was asked: no review lets it.
    left: Vec<String>,
}

impl Seen {
    /// Whether a policy was for it, as far as is known.
    fn was_meant(&self) -> bool {
        !(self.policies.is_empty() && self.left.is_empty())
    }

    fn is_good(&self, known: &Arc<Known>, now: Instant) -> bool {
        let lasting = self.recorded.is_some() || now.duration_since(self.at) < RETRY;
        Arc::ptr_eq(&self.known, known) && lasting
    }
}

impl Compared {
    /// Looks at all pods that a policy is for, or was. What cannot be read stays as it was seen.
    pub(super) async fn round(&mut self, attestor: &Attestor, looked: &Looked, at: Moment) {
        let mut before = std::mem::take(&mut self.0);
        let mut looks = 0;
        for known in &looked.bound {
            let seen = before.remove_entry(known.uid());
            let was_meant = seen.as_ref().is_some_and(|(_, seen)| seen.was_meant());
            if known.meant.is_none() && !was_meant {
                continue;
            }
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
                    let policies = &looked.policies;
                    let anew = look(attestor, policies, known, seen.as_ref(), at.instant);
                    anew.await.map_or_else(|error| told(&error, seen), Some)
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

    /// Why this pod may not go on: it is not what its workload was made of, or left its policy.
    pub(super) fn refusals(&self, uid: &str) -> &[Finding] {
        self.0.get(uid).map_or(&[], |seen| &seen.refusals)
    }

    /// The policies that it left.
    pub(super) fn left(&self, uid: &str) -> &[String] {
        self.0.get(uid).map_or(&[], |seen| &seen.left)
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
    policies: &PolicySet,
    known: &Arc<Known>,
    before: Option<&Seen>,
    at: Instant,
) -> Result<Seen, StoreError> {
    let mut seen = Seen {
        known: Arc::clone(known),
        policy_digest: policies.digest,
        at,
        recorded: None,
        said: None,
        refusals: Vec::new(),
        policies: Vec::new(),
        left: Vec::new(),
    };
    if let Some(meant) = &known.meant {
        seen.policies.clone_from(&meant.policies);
    }
    seen.left = before.map_or_else(Vec::new, |before| left(before, policies, &seen.policies));
    if !seen.left.is_empty() {
        let finding = Finding::new("pod-leaves-policy").observed(seen.left.join(", "));
        seen.refusals.push(finding);
    }
    let Some(facts) = known.meant.as_ref().map(|meant| &meant.facts) else {
        return Ok(seen);
    };
    let Some(of) = &facts.workload else {
        return Ok(seen);
    };
    if let Some(record) = attestor.workloads.of(&facts.namespace, of).await? {
        seen.recorded = Some(workloads::id(&attestor.cluster, &facts.namespace, of));
        seen.refusals.extend(changes(&record.made, &made_of(facts)));
    }
    Ok(seen)
}

/// Policies that a pod left: they were for it, are still there, and are not for it any more. Where policy itself changed, what
/// was for the pod before may mean others now, and only what it had left already counts.
fn left(before: &Seen, policies: &PolicySet, is_for: &[String]) -> Vec<String> {
    let were = match before.policy_digest == policies.digest {
        true => before.policies.as_slice(),
        false => &[],
    };
    let were = before.left.iter().chain(were);
    let gone = |name: &&String| policies.workloads.contains_key(*name) && !is_for.contains(*name);
    let mut left: Vec<String> = were.filter(gone).cloned().collect();
    left.sort_unstable();
    left.dedup();
    left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn a_pod_that_left_its_policy_by_any_door_is_known_by_what_it_was() {
        let text = |label: &str| {
            let policy = |name: &str| {
                format!(
                    "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: {name}}}\n\
                     spec: {{pod: {{namespaces: [a], labels: {{app: {label}}}}}, host: {{tier: affirming}}}}\n"
                )
            };
            PolicySet::parse(&[policy("v"), policy("w")].join("---\n")).unwrap()
        };
        let names = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let (policies, others) = (text("x"), text("y"));
        let pod = serde_json::json!({ "metadata": {}, "spec": {} });
        let pod = Arc::new(serde_json::from_value(pod).unwrap());
        let known = Arc::new(Known { pod, meant: None });
        let seen = |is_for: &[&str], left: &[&str]| Seen {
            known: Arc::clone(&known),
            policy_digest: policies.digest,
            at: Instant::now(),
            recorded: None,
            said: None,
            refusals: Vec::new(),
            policies: names(is_for),
            left: names(left),
        };
        let was = seen(&["v", "w"], &[]);
        assert_eq!(left(&was, &policies, &names(&["v", "w"])), names(&[]));
        assert_eq!(left(&was, &policies, &names(&["v"])), names(&["w"]));
        assert_eq!(left(&was, &policies, &[]), names(&["v", "w"]));
        // It stays out until it comes back.
        let out = seen(&["v"], &["w"]);
        assert_eq!(left(&out, &policies, &names(&["v"])), names(&["w"]));
        assert_eq!(left(&out, &policies, &names(&["v", "w"])), names(&[]));
        // Policy that changes lets pods go, but not those that went before.
        assert_eq!(left(&was, &others, &[]), names(&[]));
        assert_eq!(left(&out, &others, &[]), names(&["w"]));
        // And one that is gone holds none.
        let gone = seen(&["gone"], &[]);
        assert_eq!(left(&gone, &policies, &[]), names(&[]));
    }
}
