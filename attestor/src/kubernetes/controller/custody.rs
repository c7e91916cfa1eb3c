//! Custody of workloads: where their pods run, and after which other pod each came, from which host. It is what the
//! cluster shows of pods that are bound, not what reviews asked: that a pod was let onto a node does not show that it
//! went there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_kubernetes::node::Node;
use touchstone_kubernetes::pods::Pod;
use touchstone_kubernetes::{pod, workload};
use touchstone_policies::admit::workload::{changes, made_of};
use touchstone_policies::admit::{PodFacts, Workload, concerns_namespace, policies_for};

use super::judged::Judged;
use crate::attestor::Attestor;
use crate::audit::{Actor, Custodian, Entry, Event, Moved};
use crate::store::{KeptMove, KeptPlace, StoreError, Tx};
use crate::workloads;

/// Most pods that are seen for the first time in one round; the others are in the next one.
const NEW_MAX: usize = 500;
/// Most images that an entry names.
const IMAGES_MAX: usize = 64;

/// For how long places are not read again: what is over is taken away in the database alone.
const READ_SECONDS: i64 = 3600;

/// Where the pods of controllers are. Read by the replica that comes to write, and now and then.
#[derive(Default)]
pub(super) struct Custody {
    /// By uid of the pod, and when they were read.
    places: Option<(i64, HashMap<String, KeptPlace>)>,
    /// Pods that no policy is for, or that are workloads by themselves, under these policies.
    passed: HashSet<String>,
    policies: Sha256Digest,
}

/// A pod that was not there the last time.
struct New {
    place: KeptPlace,
    workload: Workload,
    facts: PodFacts,
}

/// What one round changes.
#[derive(Default)]
struct Changed {
    kept: Vec<KeptPlace>,
    dropped: Vec<KeptPlace>,
    moves: Vec<(Entry, KeptMove)>,
}

impl Custody {
    /// Looks at all pods that are bound, and writes down what changed.
    pub(super) async fn round(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        judged: &[(Arc<Node>, Judged)],
        now: i64,
    ) {
        if let Err(error) = self.look(attestor, cluster, judged, now).await {
            // Read anew: what was not written did not happen.
            self.places = None;
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "where pods of workloads are was not written down");
        }
    }

    async fn look(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        judged: &[(Arc<Node>, Judged)],
        now: i64,
    ) -> Result<(), StoreError> {
        let held = self.places.take();
        let held = held.filter(|(read_at, _)| now.saturating_sub(*read_at) < READ_SECONDS);
        let (read_at, mut places) = match held {
            Some(held) => held,
            None => (now, read(attestor).await?),
        };
        let pods = cluster.bound_pods();
        let pods: Vec<&Arc<Pod>> = pods.iter().filter(|pod| stays(pod)).collect();
        let mut changed = Changed::default();
        let there: HashSet<&str> = pods.iter().filter_map(|pod| uid(pod)).collect();
        for place in places.values_mut() {
            if place.ended_at.is_none() && !there.contains(&*place.pod_uid) {
                place.ended_at = Some(now);
                changed.kept.push(place.clone());
            }
        }
        for new in self.newcomers(attestor, &pods, &places, judged, now) {
            let before = before(&places, &new.place);
            if let Some(before) = before.and_then(|uid| places.remove(&uid)) {
                changed
                    .moves
                    .push(moved(attestor, &before, &new, now).await?);
                changed.kept.retain(|kept| kept.pod_uid != before.pod_uid);
                changed.dropped.push(before);
            }
            changed.kept.push(new.place.clone());
            places.insert(new.place.pod_uid.clone(), new.place);
        }
        changed.write(attestor).await?;
        self.places = Some((read_at, places));
        Ok(())
    }

    /// The pods of controllers that a policy is for, and that have no place yet.
    fn newcomers(
        &mut self,
        attestor: &Attestor,
        pods: &[&Arc<Pod>],
        places: &HashMap<String, KeptPlace>,
        judged: &[(Arc<Node>, Judged)],
        now: i64,
    ) -> Vec<New> {
        let policies = attestor.index.policies();
        if self.policies != policies.digest {
            self.passed.clear();
            self.policies = policies.digest;
        }
        let mut passed = HashSet::new();
        let mut all = Vec::new();
        for pod in pods {
            let Some(uid) = uid(pod).filter(|uid| !places.contains_key(*uid)) else {
                continue;
            };
            if self.passed.contains(uid) {
                passed.insert(uid.to_owned());
                continue;
            }
            if all.len() == NEW_MAX {
                continue;
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let concerned = concerns_namespace(&policies, namespace);
            match newcomer(&attestor.cluster, pod, judged, now)
                .filter(|new| concerned && !policies_for(&policies, &new.facts).is_empty())
            {
                Some(new) => all.push(new),
                None => drop(passed.insert(uid.to_owned())),
            }
        }
        self.passed = passed;
        all
    }
}

async fn read(attestor: &Attestor) -> Result<HashMap<String, KeptPlace>, StoreError> {
    let kept = attestor
        .store
        .read()
        .await?
        .places(&attestor.cluster)
        .await?
        .into_iter();
    Ok(kept.map(|place| (place.pod_uid.clone(), place)).collect())
}

/// Whether it is not about to end, however long it takes for that.
fn stays(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

fn uid(pod: &Pod) -> Option<&str> {
    pod.metadata.uid.as_deref()
}

/// A pod with its place; `None`: it has no controller.
fn newcomer(
    cluster: &ClusterName,
    pod: &Pod,
    judged: &[(Arc<Node>, Judged)],
    now: i64,
) -> Option<New> {
    let workload = workload::of_held(&pod.metadata).filter(|of| !of.is_alone())?;
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let node = pod.spec.node_name.clone().unwrap_or_default();
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let behind = judged
        .iter()
        .find(|(known, _)| known.metadata.name.as_ref() == Some(&node));
    let place = KeptPlace {
        cluster: cluster.clone(),
        pod_uid: pod.metadata.uid.clone()?,
        workload: workloads::id(cluster, &namespace, &workload),
        pod: pod.metadata.name.clone().unwrap_or_default(),
        host: behind.and_then(|(_, judged)| judged.host.clone()),
        bound_at: now,
        ended_at: None,
        node,
        namespace: namespace.clone(),
    };
    let facts = pod::facts(&namespace, &labels, &pod.spec);
    Some(New {
        place,
        workload,
        facts,
    })
}

/// The uid of the pod that `new` comes after: one of its workload that ended and that none came after yet. Of several,
/// one of its name, as of StatefulSets; else one of its node, as of DaemonSets; else the one that ended first.
fn before(places: &HashMap<String, KeptPlace>, new: &KeptPlace) -> Option<String> {
    let ended = places
        .values()
        .filter(|place| place.workload == new.workload && place.ended_at.is_some());
    let first = ended.min_by_key(|place| {
        let (other_name, other_node) = (place.pod != new.pod, place.node != new.node);
        (other_name, other_node, place.ended_at, &place.pod_uid)
    });
    first.map(|place| place.pod_uid.clone())
}

async fn moved(
    attestor: &Attestor,
    before: &KeptPlace,
    new: &New,
    now: i64,
) -> Result<(Entry, KeptMove), StoreError> {
    let namespace = &new.place.namespace;
    let record = attestor.workloads.of(namespace, &new.workload).await?;
    let made = made_of(&new.facts);
    let mut images: Vec<OciDigest> = made.iter().filter_map(|image| image.digest).collect();
    images.sort_unstable();
    images.dedup();
    images.truncate(IMAGES_MAX);
    let body = Moved {
        cluster: new.place.cluster.clone(),
        namespace: namespace.clone(),
        workload: new.workload.clone(),
        from: custodian(attestor, before, now),
        to: custodian(attestor, &new.place, now),
        images,
        same: record.map(|record| changes(&record.made, &made).is_empty()),
    };
    let text = serde_json::to_string(&body).map_err(|_| StoreError::Malformed("move"))?;
    let entry = Entry::new(&Event::WorkloadMoved(Box::new(body)), &Actor::Attestor, now)?;
    let kept = KeptMove {
        entry: entry.leaf(),
        workload: new.place.workload,
        moved_at: now,
        body: text,
    };
    Ok((entry, kept))
}

fn custodian(attestor: &Attestor, place: &KeptPlace, now: i64) -> Custodian {
    let host: Option<&HostId> = place.host.as_ref();
    let held = host.and_then(|host| attestor.index.standing(host));
    let in_force = held.filter(|held| now < held.standing.expires_at);
    Custodian {
        pod: place.pod.clone(),
        pod_uid: place.pod_uid.clone(),
        node: place.node.clone(),
        host: place.host.clone(),
        tier: in_force.map_or(TrustTier::None, |held| held.standing.tier),
    }
}

impl Changed {
    async fn write(self, attestor: &Attestor) -> Result<(), StoreError> {
        if self.kept.is_empty() && self.dropped.is_empty() {
            return Ok(());
        }
        let mut tx = attestor.store.write().await?;
        let orders = self.put(&mut tx).await?;
        // COMMIT POINT: where the pods are is kept with what is said of their moves.
        tx.commit().await?;
        for order in orders {
            attestor.index.note(order);
        }
        Ok(())
    }

    async fn put(&self, tx: &mut Tx) -> Result<Vec<u64>, StoreError> {
        if !self.kept.is_empty() {
            tx.keep_places(&self.kept).await?;
        }
        if !self.dropped.is_empty() {
            tx.drop_places(&self.dropped).await?;
        }
        let mut orders = Vec::new();
        for (entry, kept) in &self.moves {
            orders.push(entry.append(tx).await?);
            tx.add_move(kept).await?;
        }
        Ok(orders)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn place(uid: &str, workload: &str, pod: &str, node: &str, ended: Option<i64>) -> KeptPlace {
        KeptPlace {
            cluster: ClusterName::default(),
            pod_uid: uid.to_owned(),
            workload: Sha256Digest::of(workload.as_bytes()),
            namespace: "payments".to_owned(),
            pod: pod.to_owned(),
            node: node.to_owned(),
            host: None,
            bound_at: 1,
            ended_at: ended,
        }
    }

    #[test]
    fn a_pod_comes_after_one_of_its_workload_that_ended() {
        let all = [
            place("u1", "w", "api-a", "n1", Some(30)),
            place("u2", "w", "api-b", "n2", Some(20)),
            place("u3", "w", "api-c", "n3", Some(10)),
            place("u4", "w", "api-d", "n4", None),
            place("u5", "v", "api-e", "n5", Some(5)),
        ];
        let places: HashMap<String, KeptPlace> = all
            .into_iter()
            .map(|place| (place.pod_uid.clone(), place))
            .collect();
        let before = |workload, pod, node| {
            let new = place("new", workload, pod, node, None);
            before(&places, &new).unwrap_or_default()
        };
        assert_eq!(before("w", "api-b", "n1"), "u2");
        assert_eq!(before("w", "api-x", "n1"), "u1");
        assert_eq!(before("w", "api-x", "n9"), "u3");
        assert_eq!(before("w", "api-d", "n4"), "u3");
        assert_eq!(before("x", "api-a", "n1"), "");
    }
}
