//! What workloads were made of, by the id of each.

use serde::Serialize;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::cluster_name::ClusterName;

use super::log::digest;
use super::nodes::cluster_name;
use super::{StoreError, Tx, on};

/// Most workloads that are kept of one namespace, and most bytes of their images.
const KEPT: i64 = 4096;
const KEPT_BYTES: i64 = 16 << 20;

/// Namespaces that keep too much. It is asked again and again, and reads no text.
const MANY: &str = "SELECT cluster, namespace FROM workloads GROUP BY cluster, namespace
                    HAVING count(*) > $1 OR sum(bytes) > $2";

/// A workload as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkloadRecord {
    pub(crate) id: Sha256Digest,
    pub(crate) cluster: ClusterName,
    pub(crate) namespace: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) revision: String,
    /// It is a pod without a controller.
    pub(crate) alone: bool,
    /// What it is made of: JSON.
    pub(crate) images: String,
    /// Leaf hash of the entry of its first admission.
    pub(crate) entry: Sha256Digest,
    /// Seconds since 1970, as is the other.
    pub(crate) recorded_at: i64,
    pub(crate) seen_at: i64,
}

/// Where a page of workloads begins: after this one. The default is before all.
#[derive(Clone, Debug, Default)]
pub(crate) struct AfterWorkload {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) id: Vec<u8>,
}

#[derive(Serialize)]
struct RecordJson<'a> {
    id: Sha256Digest,
    cluster: &'a str,
    namespace: &'a str,
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
    revision: &'a str,
    alone: i64,
    bytes: usize,
    images: &'a str,
    entry: Sha256Digest,
    recorded_at: i64,
}

#[derive(Serialize)]
struct IdJson {
    id: Sha256Digest,
}

type Row = (
    Vec<u8>,
    String,
    String,
    String,
    String,
    String,
    String,
    i64,
    String,
    Vec<u8>,
    i64,
    i64,
);

impl Tx {
    /// Keeps workloads, each once at most. Those that are kept already stay as they are; says how many were not.
    pub(crate) async fn add_workloads(
        &mut self,
        records: &[WorkloadRecord],
    ) -> Result<u64, StoreError> {
        let list = list(records)?;
        let added = on!(self, connection => {
            sqlx::query(
                "INSERT INTO workloads
                     (id, cluster, namespace, kind, name, uid, revision, alone, bytes, images, entry, recorded_at, seen_at)
                 SELECT unhex(j.value ->> 'id'), j.value ->> 'cluster', j.value ->> 'namespace', j.value ->> 'kind', j.value ->> 'name',
                     j.value ->> 'uid', j.value ->> 'revision', CAST(j.value ->> 'alone' AS BIGINT),
                     CAST(j.value ->> 'bytes' AS BIGINT), j.value ->> 'images', unhex(j.value ->> 'entry'),
                     CAST(j.value ->> 'recorded_at' AS BIGINT), CAST(j.value ->> 'recorded_at' AS BIGINT)
                 FROM json_each($1) AS j WHERE true ON CONFLICT (id) DO NOTHING",
            )
            .bind(list)
            .execute(connection)
            .await?
            .rows_affected()
        });
        Ok(added)
    }

    /// Namespaces of which more are kept than are to be, each with its cluster.
    pub(crate) async fn namespaces_of_many_workloads(
        &mut self,
    ) -> Result<Vec<(ClusterName, String)>, StoreError> {
        let rows: Vec<(String, String)> = on!(self, connection => {
            sqlx::query_as(MANY)
                .bind(KEPT)
                .bind(KEPT_BYTES)
                .fetch_all(connection)
                .await?
        });
        let namespace =
            |(cluster, namespace): (String, String)| Ok((cluster_name(&cluster)?, namespace));
        rows.into_iter().map(namespace).collect()
    }

    /// Lets go of what is more than is kept of a namespace, with its moves: first pods without a controller, and of each
    /// kind those whose pods nobody saw run, then those that were not seen for longest.
    pub(crate) async fn forget_workloads(
        &mut self,
        cluster: &ClusterName,
        namespace: &str,
    ) -> Result<(), StoreError> {
        macro_rules! surplus {
            () => {
                "(SELECT id FROM (
                     SELECT id, row_number() OVER kept AS place, sum(bytes) OVER kept AS total
                     FROM workloads WHERE cluster = $1 AND namespace = $2
                     WINDOW kept AS (ORDER BY alone, CASE WHEN seen_at > recorded_at THEN 0 ELSE 1 END, seen_at DESC, id)
                 ) AS ranked WHERE place > $3 OR total > $4)"
            };
        }
        for statement in [
            concat!("DELETE FROM workload_moves WHERE workload IN ", surplus!()),
            concat!("DELETE FROM workloads WHERE id IN ", surplus!()),
        ] {
            on!(self, connection => {
                sqlx::query(statement)
                    .bind(cluster.as_str())
                    .bind(namespace)
                    .bind(KEPT)
                    .bind(KEPT_BYTES)
                    .execute(connection)
                    .await?;
            });
        }
        Ok(())
    }

    /// Pods of these workloads were seen, after they were recorded.
    pub(crate) async fn see_workloads(
        &mut self,
        ids: &[Sha256Digest],
        now: i64,
    ) -> Result<(), StoreError> {
        let list = ids_json(ids)?;
        on!(self, connection => {
            sqlx::query(
                "UPDATE workloads SET seen_at = CASE WHEN $2 > recorded_at THEN $2 ELSE recorded_at + 1 END
                 WHERE id IN (SELECT unhex(j.value ->> 'id') FROM json_each($1) AS j)",
            )
            .bind(list)
            .bind(now)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// The workload with this id.
    pub(crate) async fn workload(
        &mut self,
        id: &Sha256Digest,
    ) -> Result<Option<WorkloadRecord>, StoreError> {
        let row: Option<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT id, cluster, namespace, kind, name, uid, revision, alone, images, entry, recorded_at, seen_at
                 FROM workloads WHERE id = $1",
            )
            .bind(&id.0[..])
            .fetch_optional(connection)
            .await?
        });
        row.map(record).transpose()
    }

    /// The workloads with these ids, as many of them as there are.
    pub(crate) async fn workloads_of(
        &mut self,
        ids: &[Sha256Digest],
    ) -> Result<Vec<WorkloadRecord>, StoreError> {
        let list = ids_json(ids)?;
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT id, cluster, namespace, kind, name, uid, revision, alone, images, entry, recorded_at, seen_at
                 FROM workloads WHERE id IN (SELECT unhex(j.value ->> 'id') FROM json_each($1) AS j)",
            )
            .bind(list)
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(record).collect()
    }

    /// Workloads of `cluster` and `namespace`, or of all where none is named, that come after `after`; at most `most`.
    pub(crate) async fn workloads(
        &mut self,
        cluster: Option<&ClusterName>,
        namespace: Option<&str>,
        after: &AfterWorkload,
        most: i64,
    ) -> Result<Vec<WorkloadRecord>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT id, cluster, namespace, kind, name, uid, revision, alone, images, entry, recorded_at, seen_at
                 FROM workloads
                 WHERE (namespace, name, id) > ($2, $3, $4) AND (namespace = $1 OR $1 = '')
                     AND (cluster = $6 OR $6 = '')
                 ORDER BY namespace, name, id LIMIT $5",
            )
            .bind(namespace.unwrap_or_default())
            .bind(&after.namespace)
            .bind(&after.name)
            .bind(&after.id)
            .bind(most)
            .bind(cluster.map(ClusterName::as_str).unwrap_or_default())
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(record).collect()
    }

    /// Workloads of a namespace whose controller is called `name`, or is a ReplicaSet of a Deployment of that name; the
    /// latest first, at most `most`.
    pub(crate) async fn workloads_named(
        &mut self,
        namespace: &str,
        name: &str,
        most: i64,
    ) -> Result<Vec<WorkloadRecord>, StoreError> {
        let rows: Vec<Row> = on!(self, connection => {
            sqlx::query_as(
                "SELECT id, cluster, namespace, kind, name, uid, revision, alone, images, entry, recorded_at, seen_at
                 FROM workloads
                 WHERE namespace = $1
                     AND (name = $2 OR (kind = 'ReplicaSet' AND revision <> '' AND name = $2 || '-' || revision))
                 ORDER BY recorded_at DESC, id LIMIT $3",
            )
            .bind(namespace)
            .bind(name)
            .bind(most)
            .fetch_all(connection)
            .await?
        });
        rows.into_iter().map(record).collect()
    }
}

fn ids_json(ids: &[Sha256Digest]) -> Result<String, StoreError> {
    let list: Vec<IdJson> = ids.iter().map(|id| IdJson { id: *id }).collect();
    serde_json::to_string(&list).map_err(|_| StoreError::Malformed("workload"))
}

fn list(records: &[WorkloadRecord]) -> Result<String, StoreError> {
    let rows = records.iter().map(|record| RecordJson {
        id: record.id,
        cluster: record.cluster.as_str(),
        namespace: &record.namespace,
        kind: &record.kind,
        name: &record.name,
        uid: &record.uid,
        revision: &record.revision,
        alone: i64::from(record.alone),
        bytes: record.images.len(),
        images: &record.images,
        entry: record.entry,
        recorded_at: record.recorded_at,
    });
    serde_json::to_string(&rows.collect::<Vec<_>>()).map_err(|_| StoreError::Malformed("workload"))
}

fn record(row: Row) -> Result<WorkloadRecord, StoreError> {
    let (id, cluster, namespace, kind, name, uid, revision, alone, images, entry, recorded, seen) =
        row;
    Ok(WorkloadRecord {
        id: digest(&id)?,
        cluster: cluster_name(&cluster)?,
        namespace,
        kind,
        name,
        uid,
        revision,
        alone: alone != 0,
        images,
        entry: digest(&entry)?,
        recorded_at: recorded,
        seen_at: seen,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::store::Store;

    fn record(number: i64, alone: bool) -> WorkloadRecord {
        let name = format!("{alone}-{number}");
        WorkloadRecord {
            id: Sha256Digest::of(name.as_bytes()),
            cluster: ClusterName::default(),
            namespace: "payments".to_owned(),
            kind: "K".to_owned(),
            uid: name.clone(),
            name,
            revision: String::new(),
            alone,
            images: "[]".to_owned(),
            entry: Sha256Digest::ZERO,
            recorded_at: number,
            seen_at: number,
        }
    }

    #[tokio::test]
    async fn pods_without_a_controller_go_first_and_then_what_was_not_seen_for_longest() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let mut elsewhere = record(0, true);
        elsewhere.id = Sha256Digest::ZERO;
        elsewhere.cluster = "west".parse().unwrap();
        let cluster = ClusterName::default();
        let controlled = (0..KEPT - 1).map(|number| record(number, false));
        let alone = (KEPT..KEPT + 3).map(|number| record(number, true));
        let all: Vec<_> = controlled.chain(alone).chain([elsewhere.clone()]).collect();
        assert_eq!(tx.add_workloads(&all).await.unwrap(), all.len() as u64);
        assert_eq!(tx.add_workloads(&all).await.unwrap(), 0);
        let many = tx.namespaces_of_many_workloads().await.unwrap();
        assert_eq!(many, [(cluster.clone(), "payments".to_owned())]);
        tx.forget_workloads(&cluster, "payments").await.unwrap();
        let kept = async |tx: &mut Tx, one: &WorkloadRecord| {
            let found = tx.workload(&one.id).await.unwrap();
            assert!(found.as_ref().is_none_or(|found| found == one));
            found.is_some()
        };
        assert!(kept(&mut tx, &elsewhere).await && kept(&mut tx, &record(0, false)).await);
        assert!(kept(&mut tx, &record(KEPT + 2, true)).await);
        assert!(!kept(&mut tx, &record(KEPT + 1, true)).await);
        let more = [record(KEPT, false), record(KEPT + 1, false)];
        assert_eq!(tx.add_workloads(&more).await.unwrap(), 2);
        tx.forget_workloads(&cluster, "payments").await.unwrap();
        assert!(!kept(&mut tx, &record(KEPT + 2, true)).await);
        assert!(!kept(&mut tx, &record(0, false)).await && kept(&mut tx, &more[0]).await);
    }

    #[tokio::test]
    async fn what_nobody_saw_run_pushes_out_nothing_that_ran_and_text_has_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().write().await.unwrap();
        let all: Vec<_> = (0..=KEPT).map(|number| record(number, false)).collect();
        tx.add_workloads(&all).await.unwrap();
        tx.see_workloads(&[all[0].id], 0).await.unwrap();
        let cluster = ClusterName::default();
        tx.forget_workloads(&cluster, "payments").await.unwrap();
        let kept = async |tx: &mut Tx, one: &WorkloadRecord| {
            let found = tx.workload(&one.id).await;
            found.unwrap().is_some()
        };
        let ran = [kept(&mut tx, &all[0]).await, kept(&mut tx, &all[1]).await];
        assert_eq!(ran, [true, false], "records-that-ran-kept");
        let large: Vec<_> = (0..17)
            .map(|number| WorkloadRecord {
                namespace: "shop".to_owned(),
                images: "x".repeat(1 << 20),
                ..record(number, true)
            })
            .collect();
        tx.add_workloads(&large).await.unwrap();
        let many = tx.namespaces_of_many_workloads().await.unwrap();
        assert_eq!(many, [(cluster.clone(), "shop".to_owned())]);
        tx.forget_workloads(&cluster, "shop").await.unwrap();
        assert!(!kept(&mut tx, &large[0]).await && kept(&mut tx, &large[1]).await);
        assert!(tx.namespaces_of_many_workloads().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_namespaces_keep_is_counted_from_an_index_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let mut tx = store.unwrap().read().await.unwrap();
        let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {MANY}"));
        let steps: Vec<(i64, i64, i64, String)> = on!(tx, connection => {
            sqlx::query_as(plan)
                .bind(KEPT)
                .bind(KEPT_BYTES)
                .fetch_all(connection)
                .await
                .unwrap()
        });
        let steps: Vec<String> = steps.into_iter().map(|step| step.3).collect();
        let index = "SCAN workloads USING COVERING INDEX workloads_by_age";
        assert_eq!(steps, [index]);
    }
}
