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
        let bound = looked.bound.iter().map(Arc::as_ref);
        let pods: Vec<&Known> = bound.filter(|known| stays(known)).collect();
        let there: HashSet<&str> = pods.iter().map(|known| known.uid()).collect();
        for ended in places.end(&there, now).chunks(ENDED_MAX) {
            keep(attestor, ended).await?;
        }
        for group in newcomers(&attestor.cluster, &pods, &places, judged, now).chunks(GROUP_MAX) {
            let mut changed = Changed::default();
            for new in group {
                if let Some(before) = places.take_before(&new.place) {
                    let moved = moved(attestor, &before, new, now).await?;
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
    judged: &[(Arc<Node>, Judged)],
    now: i64,
) -> Vec<New> {
    let named = judged
        .iter()
        .filter_map(|(node, judged)| Some((node.metadata.name.as_deref()?, judged.host.as_ref()?)));
    let hosts: HashMap<&str, &HostId> = named.collect();
    let pods = pods.iter();
    let unplaced = pods.filter(|known| !places.has(known.uid()));
    let new = unplaced.filter_map(|known| newcomer(cluster, known, &hosts, now));
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

/// Whether it is not about to end, however long it takes for that.
fn stays(known: &Known) -> bool {
    known.pod.metadata.deletion_timestamp.is_none()
}

/// A pod with its place; `None`: no policy is for it, or it has no controller.
fn newcomer(
    cluster: &ClusterName,
    known: &Known,
    hosts: &HashMap<&str, &HostId>,
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
        host: hosts.get(node).map(|host| (*host).clone()),
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
    before: &KeptPlace,
    new: &New,
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
        from: custodian(attestor, before, now),
        to: custodian(attestor, &new.place, now),
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

fn custodian(attestor: &Attestor, place: &KeptPlace, now: i64) -> Custodian {
    let host: Option<&HostId> = place.host.as_ref();
    let held = host.and_then(|host| attestor.index.standing(host));
    Custodian {
        pod: place.pod.clone(),
        pod_uid: place.pod_uid.clone(),
        node: place.node.clone(),
        host: place.host.clone(),
        tier: held.map_or(TrustTier::None, |held| held.standing.tier_at(now)),
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
