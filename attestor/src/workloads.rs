//! The record of workloads: what each was made of, kept at the first admission of a pod of it, for ever the same.
//!
//! A pod without a controller is a workload that nobody else is to be compared with: its record is written behind the
//! answer. The others' are durable with the entry that made them, before the answer.

use std::collections::HashMap;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_policies::admit::workload::{MadeOf, changes};
use touchstone_policies::admit::{ImageUse, Workload};

use crate::appraisal::RoundError;
use crate::audit::Entry;
use crate::store::{Store, StoreError, WorkloadRecord};
use crate::trust_index::TrustIndex;

/// Records that are expected to be held in memory, and most bytes of all of them.
const HELD: usize = 8192;
const HELD_BYTES: u64 = 16 << 20;
/// What a record takes beside its text, at least.
const RECORD_BYTES: usize = 128;
/// Most bytes that are kept of a record with the layers of its images; beyond that without them: the digest of its
/// manifest commits to all.
const KEPT_BYTES: usize = 32 << 10;
/// Most records in one transaction, and most that wait for one.
const GROUP_MAX: usize = 256;
const WAITING_MAX: usize = 1024;
/// For how long a pod may come after one that ended.
const FOLLOWED_SECONDS: i64 = 7 * 24 * 3600;
/// Most layers that a record names; storage drivers take 128 at most. The manifest's digest commits to all.
const LAYERS_MAX: usize = 128;

/// An image that a workload is made of, with what was known of it then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MadeImage {
    /// Name of the container, or of the volume.
    pub(crate) container: String,
    pub(crate) used: ImageUse,
    pub(crate) reference: String,
    /// `None`: it was named by a tag.
    pub(crate) manifest: Option<OciDigest>,
    /// `None`, as what follows: nobody asked for its manifest, or it is an index.
    pub(crate) config: Option<OciDigest>,
    pub(crate) layers: Option<Vec<OciDigest>>,
    pub(crate) encrypted: Option<bool>,
    /// Name of the credential that registered it.
    pub(crate) publisher: Option<String>,
    /// Ids of keys of policies that signed its manifest; `None`: no policy asked.
    pub(crate) signers: Option<Vec<Sha256Digest>>,
}

impl MadeImage {
    /// Its layers, if they are not too many to be kept.
    pub(crate) fn few(layers: &[OciDigest]) -> Option<Vec<OciDigest>> {
        (layers.len() <= LAYERS_MAX).then(|| layers.to_vec())
    }

    fn made_of(&self) -> MadeOf {
        MadeOf {
            container: self.container.clone(),
            used: self.used,
            reference: self.reference.clone(),
            digest: self.manifest,
        }
    }
}

/// The first pod of a workload.
#[derive(Clone, Debug)]
pub(crate) struct First {
    pub(crate) namespace: String,
    pub(crate) workload: Workload,
    pub(crate) images: Vec<MadeImage>,
}

/// What a workload was made of.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) made: Vec<MadeOf>,
}

impl Record {
    fn of(first: &First) -> Self {
        Self {
            made: first.images.iter().map(MadeImage::made_of).collect(),
        }
    }

    /// How the pod that left `first` differs from it.
    pub(crate) fn changes(&self, first: &First) -> Vec<Finding> {
        let now: Vec<MadeOf> = first.images.iter().map(MadeImage::made_of).collect();
        changes(&self.made, &now)
    }
}

/// Weighs a record by its bytes.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Sha256Digest, Arc<Record>> for ByBytes {
    fn weight(&self, _: &Sha256Digest, record: &Arc<Record>) -> u64 {
        let images = record.made.iter();
        let images = images.map(|made| RECORD_BYTES + made.container.len() + made.reference.len());
        let bytes = images.fold(RECORD_BYTES, usize::saturating_add);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What waits to be written behind.
enum Waiting {
    Record(Box<WorkloadRecord>),
    /// Somebody waits until all before is written.
    End(oneshot::Sender<()>),
}

/// Records of one cluster, and the task that writes those that nobody waits for.
pub(crate) struct Workloads {
    cluster: ClusterName,
    store: Store,
    index: Arc<TrustIndex>,
    held: Cache<Sha256Digest, Arc<Record>, ByBytes>,
    alone: mpsc::Sender<Waiting>,
}

impl Workloads {
    /// Starts the task. It ends with this value.
    pub(crate) fn start(store: Store, index: Arc<TrustIndex>, cluster: ClusterName) -> Self {
        let (alone, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write_behind(store.clone(), waiting));
        Self {
            cluster,
            store,
            index,
            held: Cache::with_weighter(HELD, HELD_BYTES, ByBytes),
            alone,
        }
    }

    /// What is recorded of a workload.
    pub(crate) async fn of(
        &self,
        namespace: &str,
        workload: &Workload,
    ) -> Result<Option<Arc<Record>>, StoreError> {
        let id = id(&self.cluster, namespace, workload);
        if let Some(record) = self.held.get(&id) {
            return Ok(Some(record));
        }
        if workload.is_alone() {
            // It may be one that waits to be written.
            self.flush().await;
        }
        let Some(kept) = self.store.read().await?.workload(&id).await? else {
            return Ok(None);
        };
        Ok(Some(self.hold(&kept)?))
    }

    /// The id of a workload of this cluster.
    pub(crate) fn id_of(&self, namespace: &str, workload: &Workload) -> Sha256Digest {
        id(&self.cluster, namespace, workload)
    }

    /// What is recorded of the workload with this id, if that is held in memory.
    pub(crate) fn held(&self, id: &Sha256Digest) -> Option<Arc<Record>> {
        self.held.get(id)
    }

    /// What is recorded of the workloads with these ids, read together; of those that are left out nothing is. One record
    /// that does not read keeps no other from being read.
    pub(crate) async fn of_all(
        &self,
        ids: &[Sha256Digest],
    ) -> Result<HashMap<Sha256Digest, Result<Arc<Record>, StoreError>>, StoreError> {
        // Some may wait to be written.
        self.flush().await;
        let kept = self.store.read().await?.workloads_of(ids).await?;
        let read = |kept: &WorkloadRecord| (kept.id, self.hold(kept));
        Ok(kept.iter().map(read).collect())
    }

    /// Holds a record that was read.
    fn hold(&self, kept: &WorkloadRecord) -> Result<Arc<Record>, StoreError> {
        let record = Arc::new(read(kept)?);
        self.held.insert(kept.id, Arc::clone(&record));
        Ok(record)
    }

    /// Writes `entry`, which admits the first pod of a workload, together with its record. If there is one already, neither
    /// is written, and that one is the answer.
    pub(crate) async fn begin(
        &self,
        first: &First,
        entry: &Entry,
        now: i64,
    ) -> Result<Option<Arc<Record>>, RoundError> {
        let kept = kept(&self.cluster, first, entry.leaf(), now)?;
        let mut tx = self.store.write().await?;
        if tx.add_workloads(std::slice::from_ref(&kept)).await? == 0 {
            let before = tx.workload(&kept.id).await?;
            let before = before.ok_or(StoreError::Malformed("workload"))?;
            return Ok(Some(self.hold(&before)?));
        }
        let order = entry.append(&mut tx).await?;
        // COMMIT POINT: from here on every other pod of it is to be the same.
        tx.commit().await?;
        self.index.note(order);
        self.held.insert(kept.id, Arc::new(Record::of(first)));
        Ok(None)
    }

    /// Records a pod without a controller that was admitted by the entry with this leaf hash. What cannot be recorded is
    /// told: the pod is admitted, whatever becomes of its record. What is kept of it already
    /// counts, as for all others: it is held once it was read.
    pub(crate) async fn note(&self, first: &First, leaf: Sha256Digest, now: i64) {
        let kept = match kept(&self.cluster, first, leaf, now) {
            Ok(kept) => kept,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "a pod without a controller was not recorded as a workload"
                );
                return;
            }
        };
        let waiting = Waiting::Record(Box::new(kept));
        if self.alone.send(waiting).await.is_err() {
            tracing::error!("a pod without a controller was not recorded: nobody writes any more");
        }
    }

    /// Ends once all that was noted is written.
    pub(crate) async fn flush(&self) {
        let (end, written) = oneshot::channel();
        if self.alone.send(Waiting::End(end)).await.is_ok() {
            let _task_ended = written.await;
        }
    }
}

/// One name for all that a workload is known by. No two of different parts have the same. Of the cluster that nobody
/// named it is what it was before clusters had names.
pub(crate) fn id(cluster: &ClusterName, namespace: &str, workload: &Workload) -> Sha256Digest {
    let Workload {
        kind,
        name,
        uid,
        revision,
    } = workload;
    let parts = [cluster.as_str(), namespace, kind, name, uid, revision];
    let (domain, parts) = match cluster.is_default() {
        true => (&b"touchstone workload v1\0"[..], &parts[1..]),
        false => (&b"touchstone workload v2\0"[..], &parts[..]),
    };
    let lengths: Vec<[u8; 8]> = parts
        .iter()
        .map(|part| (part.len() as u64).to_be_bytes())
        .collect();
    let parts = lengths.iter().zip(parts);
    let parts = parts.flat_map(|(length, part)| [&length[..], part.as_bytes()]);
    let all: Vec<&[u8]> = [domain].into_iter().chain(parts).collect();
    Sha256Digest::of_parts(&all)
}

fn kept(
    cluster: &ClusterName,
    first: &First,
    entry: Sha256Digest,
    now: i64,
) -> Result<WorkloadRecord, StoreError> {
    let workload = &first.workload;
    Ok(WorkloadRecord {
        id: id(cluster, &first.namespace, workload),
        cluster: cluster.clone(),
        namespace: first.namespace.clone(),
        kind: workload.kind.clone(),
        name: workload.name.clone(),
        uid: workload.uid.clone(),
        revision: workload.revision.clone(),
        alone: workload.is_alone(),
        images: text(&first.images)?,
        entry,
        recorded_at: now,
        seen_at: now,
    })
}

/// `images` as they are kept.
fn text(images: &[MadeImage]) -> Result<String, StoreError> {
    let write = |images: &[MadeImage]| {
        serde_json::to_string(images).map_err(|_| StoreError::Malformed("workload"))
    };
    let whole = write(images)?;
    if whole.len() <= KEPT_BYTES {
        return Ok(whole);
    }
    let mut few = images.to_vec();
    few.iter_mut().for_each(|image| image.layers = None);
    write(&few)
}

/// The images of a record.
pub(crate) fn images(kept: &WorkloadRecord) -> Result<Vec<MadeImage>, StoreError> {
    serde_json::from_str(&kept.images).map_err(|_| StoreError::Malformed("workload"))
}

fn read(kept: &WorkloadRecord) -> Result<Record, StoreError> {
    let images = images(kept)?;
    Ok(Record {
        made: images.iter().map(MadeImage::made_of).collect(),
    })
}

/// Writes what waits, many at once. What cannot be written is told: no other pod depends on it.
async fn write_behind(store: Store, mut waiting: mpsc::Receiver<Waiting>) {
    let mut all = Vec::with_capacity(GROUP_MAX);
    while waiting.recv_many(&mut all, GROUP_MAX).await > 0 {
        let (mut records, mut ends) = (Vec::new(), Vec::new());
        for one in all.drain(..) {
            match one {
                Waiting::Record(record) => records.push(*record),
                Waiting::End(end) => ends.push(end),
            }
        }
        if let Err(error) = write(&store, &records).await {
            let error = &error as &dyn std::error::Error;
            let lost = records.len();
            tracing::warn!(
                error,
                "{lost} pods without a controller were not recorded as workloads"
            );
        }
        for end in ends {
            let _nobody_waits = end.send(());
        }
    }
}

async fn write(store: &Store, records: &[WorkloadRecord]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let mut tx = store.write().await?;
    tx.add_workloads(records).await?;
    tx.commit().await
}

/// Lets go of records of namespaces that have too many, and of places where pods ended long before `now`.
pub(crate) async fn forget(store: &Store, now: i64) -> Result<(), StoreError> {
    let before = now.saturating_sub(FOLLOWED_SECONDS);
    let over = store.read().await?.places_over(before).await?;
    if !over.is_empty() {
        let mut tx = store.write().await?;
        tx.drop_places(&over).await?;
        tx.commit().await?;
    }
    let namespaces = store.read().await?.namespaces_of_many_workloads().await?;
    for (cluster, namespace) in namespaces {
        let mut tx = store.write().await?;
        tx.forget_workloads(&cluster, &namespace).await?;
        tx.commit().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn first(uid: &str, reference: &str, layers: usize) -> First {
        let digest: OciDigest = format!("sha256:{}", "0a".repeat(32)).parse().unwrap();
        First {
            namespace: "payments".to_owned(),
            workload: Workload {
                kind: "Pod".to_owned(),
                name: "api".to_owned(),
                uid: uid.to_owned(),
                revision: String::new(),
            },
            images: vec![MadeImage {
                container: "c".to_owned(),
                used: ImageUse::Ordinary,
                reference: reference.to_owned(),
                manifest: None,
                config: None,
                layers: Some(vec![digest; layers]),
                encrypted: None,
                publisher: None,
                signers: None,
            }],
        }
    }

    #[tokio::test]
    async fn what_is_recorded_of_a_pod_stays_whoever_claims_to_be_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let workloads = Workloads::start(store.unwrap(), Arc::default(), ClusterName::default());
        let (true_one, other) = (first("u1", "r/a", 1), first("u1", "r/b", 1));
        for (one, now) in [(&true_one, 1), (&other, 2)] {
            workloads.note(one, Sha256Digest::ZERO, now).await;
            let kept = workloads.of("payments", &one.workload).await;
            assert_eq!(kept.unwrap().unwrap().made[0].reference, "r/a");
        }
    }

    #[test]
    fn a_large_record_is_kept_without_layers() {
        let layers = |count| {
            let text = text(&first("u", "r/a", count).images).unwrap();
            assert!(text.len() <= KEPT_BYTES);
            serde_json::from_str::<Vec<MadeImage>>(&text).unwrap()[0]
                .layers
                .is_some()
        };
        assert!(layers(100));
        assert!(!layers(1000));
    }

    #[test]
    fn a_record_weighs_what_its_names_have() {
        let record = Record {
            made: first("u", &"r".repeat(1000), 0).images[..]
                .iter()
                .map(MadeImage::made_of)
                .collect(),
        };
        let weight = ByBytes.weight(&Sha256Digest::ZERO, &Arc::new(record));
        assert!(weight > 1000 && weight < 2000);
    }

    #[test]
    fn no_two_workloads_have_one_id() {
        let within = |cluster: &str, namespace: &str, [kind, name, uid, revision]: [&str; 4]| {
            let [kind, name, uid, revision] = [kind, name, uid, revision].map(str::to_owned);
            let workload = Workload {
                kind,
                name,
                uid,
                revision,
            };
            id(&cluster.parse().unwrap(), namespace, &workload)
        };
        let of = |namespace, parts| within("default", namespace, parts);
        let one = of("a", ["b", "c", "d", "e"]);
        assert_eq!(one, of("a", ["b", "c", "d", "e"]));
        for other in [
            of("x", ["b", "c", "d", "e"]),
            of("a", ["x", "c", "d", "e"]),
            of("a", ["b", "x", "d", "e"]),
            of("a", ["b", "c", "x", "e"]),
            of("a", ["b", "c", "d", "x"]),
            of("a", ["b", "c", "de", ""]),
            of("ab", ["", "c", "d", "e"]),
            within("west", "a", ["b", "c", "d", "e"]),
            within("east", "a", ["b", "c", "d", "e"]),
        ] {
            assert_ne!(one, other);
        }
    }
}
