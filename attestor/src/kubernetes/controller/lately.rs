//! Which nodes lost pods lately, as the log has it: what whoever led before did is not forgotten with them.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use touchstone_kubernetes::cluster_name::ClusterName;

use super::breaker::WINDOW;
use super::evictions::are_of_the_pod;
use crate::store::{PAGE, Store, StoreError};

/// Pages of entries that are read at most: a hundred thousand entries.
const PAGES_MAX: u64 = 200;

/// What is looked at in an entry.
#[derive(Deserialize)]
struct Glance {
    kind: String,
    time: i64,
    node: Option<String>,
    #[serde(default)]
    cluster: ClusterName,
    #[serde(default)]
    refusals: Vec<String>,
}

impl Glance {
    /// Whether it tells of an end that counts for the node.
    fn counts(&self) -> bool {
        let codes = self.refusals.iter().map(String::as_str);
        self.kind == "pod-ended" && !are_of_the_pod(codes)
    }
}

/// The nodes of a cluster, and how long ago each lost its last pod.
pub(super) async fn lost(
    store: &Store,
    cluster: &ClusterName,
    now: i64,
) -> Result<HashMap<String, Duration>, StoreError> {
    let page = u64::try_from(PAGE).map_err(|_| StoreError::Malformed("page"))?;
    let since = now.saturating_sub(i64::try_from(WINDOW.as_secs()).unwrap_or(i64::MAX));
    let mut tx = store.read().await?;
    let mut end = tx.log_size().await?;
    let mut lost = HashMap::new();
    for _ in 0..PAGES_MAX {
        if end == 0 {
            break;
        }
        let begin = end.saturating_sub(page);
        let entries = tx.entries(begin).await?.into_iter();
        let length = usize::try_from(end - begin).unwrap_or(usize::MAX);
        let mut oldest = now;
        for body in entries.take(length) {
            let glance: Glance =
                serde_json::from_slice(&body).map_err(|_| StoreError::Malformed("audit entry"))?;
            oldest = oldest.min(glance.time);
            let counts = glance.counts() && glance.time > since && glance.cluster == *cluster;
            if let Some(node) = glance.node.filter(|_| counts) {
                let ago = u64::try_from(now.saturating_sub(glance.time)).unwrap_or(0);
                let ago = Duration::from_secs(ago);
                let last = lost.entry(node).or_insert(ago);
                *last = ago.min(*last);
            }
        }
        if oldest <= since {
            break;
        }
        end = begin;
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;
    use crate::audit::{self, Actor, Event};

    #[tokio::test]
    async fn nodes_that_lost_pods_within_the_window_are_found_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("database");
        let store = Store::open(&format!("sqlite:{}", file.display())).await;
        let store = store.unwrap();
        let (here, west) = (ClusterName::default(), "west".parse().unwrap());
        let within = |cluster: &ClusterName, node: &str, refusals: &[&str]| Event::PodEnded {
            cluster: cluster.clone(),
            namespace: "n".to_owned(),
            pod: "p".to_owned(),
            pod_uid: "u".to_owned(),
            node: node.to_owned(),
            host: None,
            policies: Vec::new(),
            refusals: refusals.iter().map(|code| (*code).into()).collect(),
            result_entry: None,
        };
        let ended = |node, refusals| within(&here, node, refusals);
        let other = Event::EvictionsHeld {
            cluster: here.clone(),
            nodes: 1,
            held: true,
        };
        let now = 10_000;
        let mut tx = store.write().await.unwrap();
        for (event, at) in [
            (ended("old", &[]), now - 600),
            (ended("a", &["tier-too-low"]), now - 300),
            (ended("a", &["tier-too-low", "workload-changed"]), now - 60),
            // For what they were themselves.
            (ended("a", &["workload-changed"]), now - 30),
            (ended("b", &["image-other-runs"]), now - 30),
            // Elsewhere.
            (within(&west, "a", &[]), now - 30),
            (within(&west, "b", &[]), now - 30),
        ] {
            audit::append(&mut tx, &event, &Actor::Attestor, at)
                .await
                .unwrap();
        }
        // Beyond a page.
        for _ in 0..=PAGE {
            audit::append(&mut tx, &other, &Actor::Attestor, now)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        let found = lost(&store, &here, now).await.unwrap();
        assert_eq!(
            found,
            HashMap::from([("a".to_owned(), Duration::from_secs(60))])
        );
    }
}
