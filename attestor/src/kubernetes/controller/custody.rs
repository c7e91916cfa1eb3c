//! Custody of workloads: where their pods run, and after which other pod each came, from which host. It is what the
//! cluster shows of pods that are bound, not what reviews asked: that a pod was let onto a node does not show that it
//! went there.

mod places;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::result::TrustTier;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_kubernetes::node::Node;
use touchstone_policies::admit::Workload;
use touchstone_policies::admit::workload::{MadeOf, changes, made_of};

use super::judged::Judged;
use super::pods::{Known, Looked};
use crate::attestor::Attestor;
use crate::audit::{Actor, Custodian, Entry, Event, Moved};
use crate::store::{Group, KeptMove, KeptPlace, StoreError, Tx};
use crate::trust_index::TrustIndex;
use crate::workloads;

use places::Places;

/// Most pods that are seen for the first time in one round; the others are in the next one.
const NEW_MAX: usize = 500;
/// Most newcomers of one transaction: all commits wait for it.
const GROUP_MAX: usize = 64;
/// Most places of pods that ended in one transaction: they are one statement.
const ENDED_MAX: usize = 512;
/// Most images that an entry names.
const IMAGES_MAX: usize = 64;

/// For how long places are not read again: what is over is taken away in the database alone.
const READ_SECONDS: i64 = 3600;

/// Where the pods of controllers are. Read by the replica that comes to write, and now and then.
#[derive(Default)]
pub(super) struct Custody {
    /// And when they were read.
    places: Option<(i64, Places)>,
}

/// A pod that was not there the last time.
struct New {
    place: KeptPlace,
    workload: Workload,
    /// What it is made of.
    made: Vec<MadeOf>,
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
        looked: &Looked,
        judged: &[(Arc<Node>, Judged)],
        now: i64,
    ) {
        if let Err(error) = self.look(attestor, looked, judged, now).await {
            // Read anew: what was not written did not happen.
            self.places = None;
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "where pods of workloads are was not written down");
        }
    }

    async fn look(
        &mut self,
        attestor: &Attestor,
        looked: &Looked,
        judged: &[(Arc<Node>, Judged)],
        now: i64,
    ) -> Result<(), StoreError> {
        let held = self.places.take();
        let held = held.filter(|(read_at, _)| now.saturating_sub(*read_at) < READ_SECONDS);
        let (read_at, mut places) = match held {
            Some(held) => held,
            None => (now, read(attestor).await?),
        };
        let pods = there(looked);
        let nodes = by_name(judged);
        let uids: HashSet<&str> = pods.iter().map(|known| known.uid()).collect();
        for ended in places.end(&uids, now).chunks(ENDED_MAX) {
            keep(attestor, ended).await?;
        }
        let cluster = &attestor.cluster;
        for group in newcomers(cluster, &pods, &places, &nodes, now).chunks(GROUP_MAX) {
            let mut changed = Changed::default();
            for new in group {
                if let Some(before) = places.take_before(&new.place) {
                    let moved = moved(attestor, &nodes, (&before, new), now).await?;
                    changed.moves.push(moved);
                    changed.dropped.push(before);
                }
                changed.kept.push(new.place.clone());
                places.put(new.place.clone());
            }
            changed.write(attestor).await?;
        }
        self.places = Some((read_at, places));
        Ok(())
    }
}

/// The pods of controllers that a policy is for, and that have no place yet.
fn newcomers(
    cluster: &ClusterName,
    pods: &[&Known],
    places: &Places,
    nodes: &HashMap<&str, &Judged>,
    now: i64,
) -> Vec<New> {
    let pods = pods.iter();
    let unplaced = pods.filter(|known| !places.has(known.uid()));
    let new = unplaced.filter_map(|known| newcomer(cluster, known, nodes, now));
    new.take(NEW_MAX).collect()
}

async fn read(attestor: &Attestor) -> Result<Places, StoreError> {
    Ok(Places::of(
        attestor
            .store
            .read()
            .await?
            .places(&attestor.cluster)
            .await?,
    ))
}

async fn keep(attestor: &Attestor, places: &[KeptPlace]) -> Result<(), StoreError> {
    let mut tx = attestor.store.write().await?;
    tx.keep_places(places).await?;
    tx.commit().await
}

/// Those that run, also one that was told to end and takes long for it.
fn there(looked: &Looked) -> Vec<&Known> {
    looked.bound.iter().map(Arc::as_ref).collect()
}

fn by_name(judged: &[(Arc<Node>, Judged)]) -> HashMap<&str, &Judged> {
    let named = judged.iter();
    named
        .filter_map(|(node, judged)| Some((node.metadata.name.as_deref()?, judged)))
        .collect()
}

/// A pod with its place; `None`: no policy is for it, or it has no controller.
fn newcomer(
    cluster: &ClusterName,
    known: &Known,
    nodes: &HashMap<&str, &Judged>,
    now: i64,
) -> Option<New> {
    let facts = &known.meant.as_ref()?.facts;
    let workload = facts.workload.as_ref().filter(|of| !of.is_alone())?;
    let node = known.node();
    let place = KeptPlace {
        cluster: cluster.clone(),
        pod_uid: known.uid().to_owned(),
        workload: workloads::id(cluster, &facts.namespace, workload),
        namespace: facts.namespace.clone(),
        pod: known.pod.metadata.name.clone().unwrap_or_default(),
        node: node.to_owned(),
        host: nodes.get(node).and_then(|judged| judged.host.clone()),
        bound_at: now,
        ended_at: None,
    };
    Some(New {
        place,
        workload: workload.clone(),
        made: made_of(facts),
    })
}

async fn moved(
    attestor: &Attestor,
    nodes: &HashMap<&str, &Judged>,
    (before, new): (&KeptPlace, &New),
    now: i64,
) -> Result<(Entry, KeptMove), StoreError> {
    let namespace = &new.place.namespace;
    let record = attestor.workloads.of(namespace, &new.workload).await?;
    let mut images: Vec<OciDigest> = new.made.iter().filter_map(|image| image.digest).collect();
    images.sort_unstable();
    images.dedup();
    images.truncate(IMAGES_MAX);
    let body = Moved {
        cluster: new.place.cluster.clone(),
        namespace: namespace.clone(),
        workload: new.workload.clone(),
        from: custodian(&attestor.index, nodes, before, now),
        to: custodian(&attestor.index, nodes, &new.place, now),
        images,
        same: record.map(|record| changes(&record.made, &new.made).is_empty()),
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

/// Who had it, with the tier that counts on the node; of a host whose node is gone, or is another's, its own.
fn custodian(
    index: &TrustIndex,
    nodes: &HashMap<&str, &Judged>,
    place: &KeptPlace,
    now: i64,
) -> Custodian {
    let of_host = |host: &HostId| {
        let held = index.standing(host);
        held.map_or(TrustTier::None, |held| held.standing.tier_at(now))
    };
    let judged = nodes.get(&*place.node);
    let tier = match (judged, &place.host) {
        (_, None) => TrustTier::None,
        (Some(judged), host) if judged.host == *host => judged.tier,
        (_, Some(host)) => of_host(host),
    };
    Custodian {
        pod: place.pod.clone(),
        pod_uid: place.pod_uid.clone(),
        node: place.node.clone(),
        host: place.host.clone(),
        tier,
    }
}

impl Changed {
    async fn write(self, attestor: &Attestor) -> Result<(), StoreError> {
        let mut tx = attestor.store.write().await?;
        let orders = self.put(&mut tx).await?;
        // COMMIT POINT: where the pods are is kept with what is said of their moves.
        tx.commit().await?;
        for order in orders {
            attestor.index.note(order);
        }
        Ok(())
    }

    async fn put(self, tx: &mut Tx) -> Result<Vec<u64>, StoreError> {
        tx.keep_places(&self.kept).await?;
        if self.moves.is_empty() {
            return Ok(Vec::new());
        }
        tx.drop_places(&self.dropped).await?;
        let mut group = Group::of_entries(&tx.frontier().await?);
        let entries = self.moves.iter();
        let orders = entries.map(|(entry, _)| entry.append_to(&mut group));
        let orders = orders.collect::<Result<Vec<u64>, StoreError>>()?;
        tx.write_group(group).await?;
        let moves: Vec<KeptMove> = self.moves.into_iter().map(|(_, kept)| kept).collect();
        tx.add_moves(&moves).await?;
        Ok(orders)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;
    use touchstone_evidence::digest::Sha256Digest;
    use touchstone_policies::admit::HostStanding;
    use touchstone_policies::manifest::PolicySet;

    use super::super::pods::Pods;
    use super::*;

    fn place(node: &str) -> KeptPlace {
        KeptPlace {
            cluster: ClusterName::default(),
            pod_uid: "u1".to_owned(),
            workload: Sha256Digest::ZERO,
            namespace: "payments".to_owned(),
            pod: "api-0".to_owned(),
            node: node.to_owned(),
            host: Some("de-1".parse().unwrap()),
            bound_at: 1,
            ended_at: None,
        }
    }

    #[test]
    fn a_host_on_a_node_that_rebooted_has_no_tier_there() {
        let index = TrustIndex::default();
        let standing = HostStanding {
            host: "de-1".parse().unwrap(),
            tier: TrustTier::Affirming,
            place: None,
            findings: Vec::new(),
            challenged_at: 90,
            expires_at: 200,
        };
        index.put_host(1, standing, Sha256Digest::ZERO, 100);
        let on = |tier| Judged {
            host: Some("de-1".parse().unwrap()),
            held: None,
            tier,
            why: Vec::new(),
            fault: None,
        };
        let (rebooted, good) = (on(TrustTier::None), on(TrustTier::Affirming));
        let nodes = HashMap::from([("a", &rebooted), ("b", &good)]);
        let tier = |node, now| custodian(&index, &nodes, &place(node), now).tier;
        assert_eq!(tier("a", 100), TrustTier::None);
        assert_eq!(tier("b", 100), TrustTier::Affirming);
        // Its node is gone.
        assert_eq!(tier("c", 100), TrustTier::Affirming);
        assert_eq!(tier("c", 200), TrustTier::None);
    }

    #[test]
    fn a_pod_that_takes_long_to_end_is_still_there() {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [payments]}, host: {tier: affirming}}\n";
        let policies = Arc::new(PolicySet::parse(manifest).unwrap());
        let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api", "uid": "rs", "controller": true });
        let pod = serde_json::from_value(json!({
            "metadata": {
                "name": "api-0", "namespace": "payments", "uid": "u1", "ownerReferences": [owner],
                "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 3600,
            },
            "spec": { "nodeName": "a", "containers": [{ "name": "c", "image": "i" }] },
        }));
        let bound = vec![Arc::new(pod.unwrap())];
        let looked = Pods::default().look(policies, bound, Vec::new());
        assert_eq!(there(&looked).len(), 1);
        let (here, places) = (ClusterName::default(), Places::of(Vec::new()));
        let new = newcomers(&here, &there(&looked), &places, &HashMap::new(), 1);
        assert_eq!(new.len(), 1);
    }
}
