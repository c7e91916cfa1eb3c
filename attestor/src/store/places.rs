//! Where pods of workloads run and ran, and how they came there.

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_kubernetes::cluster_name::ClusterName;

use super::log::digest;
use super::nodes::{cluster_name, host_id};
use super::{StoreError, Tx, on};

const MALFORMED: StoreError = StoreError::Malformed("place of a pod");

/// Most moves that are kept of one workload; the audit log has all.
const MOVES_KEPT: i64 = 64;
/// Most places of one namespace where pods ended that no other pod followed.
const ENDED_KEPT: i64 = 4096;

/// Where a pod runs, or ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptPlace {
    pub(crate) cluster: ClusterName,
    pub(crate) pod_uid: String,
    /// The workload's id.
    pub(crate) workload: Sha256Digest,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) node: String,
    /// `None`: no host stood behind the node.
    pub(crate) host: Option<HostId>,
    /// When it was seen there first, seconds since 1970.
    pub(crate) bound_at: i64,
    /// When it was seen no more; `None`: it is there.
    pub(crate) ended_at: Option<i64>,
}

/// That a pod came after another one.
#[derive(Clone, Debug)]
pub(crate) struct KeptMove {
    /// Leaf hash of its entry.
    pub(crate) entry: Sha256Digest,
    pub(crate) workload: Sha256Digest,
    /// Seconds since 1970.
    pub(crate) moved_at: i64,
    /// What the entry says of it: JSON.
    pub(crate) body: String,
}

#[derive(Serialize)]
struct PlaceJson<'a> {
    cluster: &'a str,
    pod_uid: &'a str,
    workload: Sha256Digest,
    namespace: &'a str,
    pod: &'a str,
    node: &'a str,
    host: Option<&'a HostId>,
    bound_at: i64,
    ended_at: Option<i64>,
}

#[derive(Serialize)]
struct MoveJson<'a> {
    entry: Sha256Digest,
    workload: Sha256Digest,
    moved_at: i64,
    body: &'a str,
}

type Row = (
    String,
    String,
    Vec<u8>,
    String,
    String,
    String,
    Option<String>,
    i64,
    Option<i64>,
);

impl Tx {
    /// Every place in `cluster`.
    pub(crate) async fn places(
        &mut self,
        cluster: &ClusterName,
    ) -> Result<Vec<KeptPlace>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT cluster, pod_uid, workload, namespace, pod, node, host, bound_at, ended_at FROM workload_places
                 WHERE cluster = $1",
            )
            .bind(cluster.as_str())
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(place).collect()
    }

    /// Keeps places as they are now, each instead of what was kept of it.
    pub(crate) async fn keep_places(&mut self, places: &[KeptPlace]) -> Result<(), StoreError> {
        let list = list(places)?;
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO workload_places
                     (cluster, pod_uid, workload, namespace, pod, node, host, bound_at, ended_at)
                 SELECT j.value ->> 'cluster', j.value ->> 'pod_uid', unhex(j.value ->> 'workload'), j.value ->> 'namespace',
                     j.value ->> 'pod', j.value ->> 'node', j.value ->> 'host',
                     CAST(j.value ->> 'bound_at' AS BIGINT), CAST(j.value ->> 'ended_at' AS BIGINT)
                 FROM json_each($1) AS j WHERE true
                 ON CONFLICT (cluster, pod_uid) DO UPDATE SET host = excluded.host, ended_at = excluded.ended_at",
            )
            .bind(list)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Takes places away: pods followed those that ended there.
    pub(crate) async fn drop_places(&mut self, places: &[KeptPlace]) -> Result<(), StoreError> {
        let list = list(places)?;
        on!(self, connection => {
            sqlx::query(
                "DELETE FROM workload_places
                 WHERE (cluster, pod_uid) IN
                     (SELECT j.value ->> 'cluster', j.value ->> 'pod_uid' FROM json_each($1) AS j)",
            )
            .bind(list)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Places in whichever cluster where pods ended before `before`, or that are more than are kept of their namespace, the oldest of it:
    /// no pod follows those any more.
    pub(crate) async fn places_over(&mut self, before: i64) -> Result<Vec<KeptPlace>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT cluster, pod_uid, workload, namespace, pod, node, host, bound_at, ended_at FROM (
                     SELECT *, row_number() OVER (PARTITION BY cluster, namespace ORDER BY ended_at DESC, pod_uid) AS place
                     FROM workload_places WHERE ended_at IS NOT NULL) AS ended
                 WHERE ended_at < $1 OR place > $2",
            )
            .bind(before)
            .bind(ENDED_KEPT)
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(place).collect()
    }

    /// Keeps moves, and lets go of older ones of their workloads.
    pub(crate) async fn add_moves(&mut self, moves: &[KeptMove]) -> Result<(), StoreError> {
        let rows = moves.iter().map(|kept| MoveJson {
            entry: kept.entry,
            workload: kept.workload,
            moved_at: kept.moved_at,
            body: &kept.body,
        });
        let list = serde_json::to_string(&rows.collect::<Vec<_>>())
            .map_err(|_| StoreError::Malformed("move"))?;
        on!(self, connection => {
            sqlx::query(
                "INSERT INTO workload_moves (entry, workload, moved_at, body)
                 SELECT unhex(j.value ->> 'entry'), unhex(j.value ->> 'workload'),
                     CAST(j.value ->> 'moved_at' AS BIGINT), j.value ->> 'body'
                 FROM json_each($1) AS j",
            )
            .bind(&list)
            .execute(&mut *connection)
            .await?;
            sqlx::query(
                "DELETE FROM workload_moves WHERE entry IN (SELECT entry FROM (
                     SELECT entry, row_number() OVER (PARTITION BY workload ORDER BY moved_at DESC, entry) AS place
                     FROM workload_moves
                     WHERE workload IN (SELECT unhex(j.value ->> 'workload') FROM json_each($1) AS j)) AS kept
                 WHERE place > $2)",
            )
            .bind(&list)
            .bind(MOVES_KEPT)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// The moves that are kept of a workload, the latest first.
    pub(crate) async fn moves_of(
        &mut self,
        workload: &Sha256Digest,
    ) -> Result<Vec<KeptMove>, StoreError> {
        let rows: Vec<(Vec<u8>, i64, String)> = on!(self, connection => {
            sqlx::query_as(
                "SELECT entry, moved_at, body FROM workload_moves WHERE workload = $1
                 ORDER BY moved_at DESC, entry",
            )
            .bind(&workload.0[..])
            .fetch_all(connection)
            .await?
        });
        let kept = |(entry, moved_at, body): (Vec<u8>, i64, String)| {
            Ok(KeptMove {
                entry: digest(&entry)?,
                workload: *workload,
                moved_at,
                body,
            })
        };
        rows.into_iter().map(kept).collect()
    }
}

fn list(places: &[KeptPlace]) -> Result<String, StoreError> {
    let rows = places.iter().map(|place| PlaceJson {
        cluster: place.cluster.as_str(),
        pod_uid: &place.pod_uid,
        workload: place.workload,
        namespace: &place.namespace,
        pod: &place.pod,
        node: &place.node,
        host: place.host.as_ref(),
        bound_at: place.bound_at,
        ended_at: place.ended_at,
    });
    serde_json::to_string(&rows.collect::<Vec<_>>()).map_err(|_| MALFORMED)
}

fn place(row: Row) -> Result<KeptPlace, StoreError> {
    let (cluster, pod_uid, workload, namespace, pod, node, host, bound_at, ended_at) = row;
    Ok(KeptPlace {
        cluster: cluster_name(&cluster)?,
        pod_uid,
        workload: digest(&workload)?,
        namespace,
        pod,
        node,
        host: host.as_deref().map(host_id).transpose()?,
        bound_at,
        ended_at,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::super::Store;
    use super::*;

    #[tokio::test]
    async fn of_each_workload_the_latest_moves_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let store = store.unwrap();
        let (often, seldom) = (Sha256Digest::of(b"often"), Sha256Digest::of(b"seldom"));
        let moved = |workload: Sha256Digest, moved_at: i64| KeptMove {
            entry: Sha256Digest::of(format!("{workload} {moved_at}").as_bytes()),
            workload,
            moved_at,
            body: format!("{{\"at\":{moved_at}}}"),
        };
        let mut all: Vec<KeptMove> = (0..MOVES_KEPT + 2).map(|at| moved(often, at)).collect();
        all.push(moved(seldom, 0));
        let mut tx = store.write().await.unwrap();
        for group in all.chunks(40) {
            tx.add_moves(group).await.unwrap();
        }
        let kept = tx.moves_of(&often).await.unwrap();
        let times: Vec<i64> = kept.iter().map(|kept| kept.moved_at).collect();
        assert_eq!(times, (2..MOVES_KEPT + 2).rev().collect::<Vec<_>>());
        assert_eq!(kept[0].body, format!("{{\"at\":{}}}", MOVES_KEPT + 1));
        let kept = tx.moves_of(&seldom).await.unwrap();
        assert_eq!(kept[0].entry, moved(seldom, 0).entry);
    }
}
