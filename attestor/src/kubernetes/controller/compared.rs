//! Whether pods that run are what their workloads were made of, and of the policies that they were of. What policy says of
//! them is looked at in each round; the record of a workload where the pod, the policies or the record may have changed.

mod seen;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Instant;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;

use super::Moment;
use super::pods::Looked;
use crate::attestor::Attestor;
use crate::store::{Store, StoreError};
use crate::workloads::Workloads;

use seen::Seen;

/// Most records that are read in one round.
const READ_MAX: usize = 500;
/// Most workloads that are said to be seen in one round.
const SAID_MAX: usize = 500;

/// Pods that a policy is for, or was, by uid.
#[derive(Default)]
pub(super) struct Compared {
    pods: HashMap<String, Seen>,
    /// The workload whose record was read last.
    last: Sha256Digest,
}

impl Compared {
    /// Looks at all pods that a policy is for, or was. What cannot be read stays as it was seen.
    pub(super) async fn round(&mut self, attestor: &Attestor, looked: &Looked, at: Moment) {
        self.see(looked);
        if let Err(error) = self.compare(&attestor.workloads, at.instant).await {
            told(&error);
        }
        if let Err(error) = self.say_seen(&attestor.store, at).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "which workloads are seen was not written");
        }
    }

    /// Why this pod may not go on: it is not what its workload was made of, or left its policy.
    pub(super) fn refusals(&self, uid: &str) -> &[Finding] {
        self.pods.get(uid).map_or(&[], |seen| &seen.refusals)
    }

    /// The policies that it left.
    pub(super) fn left(&self, uid: &str) -> &[String] {
        self.pods.get(uid).map_or(&[], |seen| &seen.left)
    }

    /// All of them, in every round: whoever is not looked at could leave unseen.
    fn see(&mut self, looked: &Looked) {
        let mut before = std::mem::take(&mut self.pods);
        for known in &looked.bound {
            let was = before.remove_entry(known.uid());
            let (uid, seen) = match was {
                Some((uid, seen)) if known.meant.is_some() || seen.was_meant() => {
                    (uid, seen.again(known, &looked.policies))
                }
                None if known.meant.is_some() => {
                    (known.uid().to_owned(), Seen::new(known, &looked.policies))
                }
                _ => continue,
            };
            self.pods.insert(uid, seen);
        }
    }

    /// Compares those that are to be, each workload with its record. What is not held in memory is read at once, and where
    /// that is too much for one round, the next one goes on.
    async fn compare(&mut self, workloads: &Workloads, now: Instant) -> Result<(), StoreError> {
        let mut due: BTreeMap<Sha256Digest, Vec<&mut Seen>> = BTreeMap::new();
        for seen in self.pods.values_mut() {
            if let Some(id) = seen.due(workloads, now) {
                due.entry(id).or_default().push(seen);
            }
        }
        due.retain(|id, pods| match workloads.held(id) {
            Some(record) => {
                let pods = pods.iter_mut();
                pods.for_each(|seen| seen.compare(*id, Some(&record), now));
                false
            }
            None => true,
        });
        let ids = turn(&due, &self.last);
        let Some(last) = ids.last() else {
            return Ok(());
        };
        self.last = *last;
        let mut records = workloads.of_all(&ids).await?;
        for id in ids {
            let record = match records.remove(&id).transpose() {
                Ok(record) => record,
                Err(error) => {
                    told(&error);
                    continue;
                }
            };
            for seen in due.remove(&id).into_iter().flatten() {
                seen.compare(id, record.as_deref(), now);
            }
        }
        Ok(())
    }

    /// So that records of what runs outlive others.
    async fn say_seen(&mut self, store: &Store, at: Moment) -> Result<(), StoreError> {
        let due = self.pods.values_mut();
        let due = due.filter(|seen| seen.is_to_be_said(at.instant));
        let due: Vec<&mut Seen> = due.take(SAID_MAX).collect();
        if due.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<Sha256Digest> = due.iter().filter_map(|seen| seen.recorded).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut tx = store.write().await?;
        tx.see_workloads(&ids, at.now).await?;
        tx.commit().await?;
        for seen in due {
            seen.said = Some(at.instant);
        }
        Ok(())
    }
}

/// The workloads whose records are read in this round: those after `last` first, so that each has its turn.
fn turn<T>(due: &BTreeMap<Sha256Digest, T>, last: &Sha256Digest) -> Vec<Sha256Digest> {
    let later = due.range((Excluded(*last), Unbounded));
    let others = due.range(..=*last);
    let ids = later.chain(others).map(|(id, _)| *id);
    ids.take(READ_MAX).collect()
}

/// Says why pods were not compared; what is known of them stays.
fn told(error: &StoreError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "what a workload was made of cannot be read");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::sync::Arc;

    use serde_json::json;
    use touchstone_kubernetes::cluster_name::ClusterName;
    use touchstone_kubernetes::pods::Pod;
    use touchstone_policies::manifest::PolicySet;

    use super::super::pods::Pods;
    use super::*;

    /// More than are read in one round, and fewer than in two.
    const MANY: usize = READ_MAX + READ_MAX / 2;

    fn policies(region: &str) -> Arc<PolicySet> {
        let text = format!(
            "apiVersion: touchstone.dev/v1\nkind: Region\nmetadata: {{name: r}}\nspec: {{version: 1, countries: [{region}]}}\n---\n\
             apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: w}}\n\
             spec: {{pod: {{namespaces: [a], labels: {{app: x}}}}, host: {{tier: affirming}}}}\n"
        );
        Arc::new(PolicySet::parse(&text).unwrap())
    }

    fn pods(version: usize, app: &str) -> Vec<Arc<Pod>> {
        let pod = |number: usize| {
            let pod = json!({
                "metadata": {
                    "name": format!("api-{number}"), "namespace": "a", "uid": format!("u-{number}"),
                    "resourceVersion": version.to_string(), "labels": { "app": app },
                },
                "spec": { "containers": [{ "name": "c", "image": "r.example/a:1" }] },
            });
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        (0..MANY).map(pod).collect()
    }

    #[test]
    fn of_however_many_pods_each_is_known_to_have_left_when_policy_changes_in_the_same_round() {
        let (mut known, mut compared) = (Pods::default(), Compared::default());
        let mut round = |policies, pods| {
            compared.see(&known.look(policies, pods, Vec::new()));
            let left = |number| compared.left(&format!("u-{number}")) == ["w"];
            (0..MANY).filter(|number| left(*number)).count()
        };
        assert_eq!(round(policies("DE"), pods(1, "x")), 0);
        assert_eq!(round(policies("FR"), pods(1, "x")), 0);
        assert_eq!(round(policies("DE"), pods(2, "y")), MANY);
    }

    #[tokio::test]
    async fn what_one_round_does_not_read_the_next_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let workloads = Workloads::start(store.unwrap(), Arc::default(), ClusterName::default());
        let (mut compared, now) = (Compared::default(), Instant::now());
        compared.see(&Pods::default().look(policies("DE"), pods(1, "x"), Vec::new()));
        let mut left = Vec::new();
        for _ in 0..3 {
            let due = compared.pods.values();
            left.push(due.filter_map(|seen| seen.due(&workloads, now)).count());
            compared.compare(&workloads, now).await.unwrap();
        }
        assert_eq!(left, [MANY, MANY - READ_MAX, 0]);
    }

    #[test]
    fn each_workload_has_its_turn_though_those_before_it_are_due_again() {
        let id = |number: usize| Sha256Digest::of(&number.to_be_bytes());
        let due: BTreeMap<Sha256Digest, ()> = (0..MANY).map(|number| (id(number), ())).collect();
        let first = turn(&due, &Sha256Digest::ZERO);
        let second = turn(&due, first.last().unwrap());
        assert_eq!((first.len(), second.len()), (READ_MAX, READ_MAX));
        let mut both = [first, second].concat();
        both.sort_unstable();
        both.dedup();
        assert_eq!(both.len(), MANY);
        assert!(turn(&BTreeMap::<_, ()>::new(), &Sha256Digest::ZERO).is_empty());
    }
}
