//! Which nodes lost pods lately, and whether pods were held, as the log has it: what whoever led before did is not forgotten
//! with them.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use touchstone_kubernetes::cluster_name::ClusterName;

use super::breaker::WINDOW;
use super::evictions::are_of_the_pod;
use crate::store::{PAGE, Store, StoreError};

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
    held: Option<bool>,
}

impl Glance {
    /// Whether it tells of an end that counts for the node.
    fn counts(&self) -> bool {
        let codes = self.refusals.iter().map(String::as_str);
        self.kind == "pod-ended" && !are_of_the_pod(codes)
    }
}

/// What was done to a cluster within [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Lately {
    /// The nodes that lost pods, and how long ago each lost its last.
    pub(super) lost: HashMap<String, Duration>,
    /// Whether pods were held, as it was told last; `None`: it was not.
    pub(super) held: Option<bool>,
}

impl Lately {
    /// Takes over what an entry says, of those that were written before others that were taken already.
    fn take(&mut self, glance: Glance, now: i64) {
        if glance.kind == "evictions-held" {
            self.held = self.held.or(glance.held);
        }
        let counts = glance.counts();
        if let Some(node) = glance.node.filter(|_| counts) {
            let ago = u64::try_from(now.saturating_sub(glance.time)).unwrap_or(0);
            let ago = Duration::from_secs(ago);
            let last = self.lost.entry(node).or_insert(ago);
            *last = ago.min(*last);
        }
    }
}

/// Reads all entries of the window, however many: what was not read would let more nodes lose their pods.
pub(super) async fn read(
    store: &Store,
    cluster: &ClusterName,
    now: i64,
) -> Result<Lately, StoreError> {
    let page = u64::try_from(PAGE).map_err(|_| StoreError::Malformed("page"))?;
    let since = now.saturating_sub(i64::try_from(WINDOW.as_secs()).unwrap_or(i64::MAX));
    let mut tx = store.read().await?;
    let mut end = tx.log_size().await?;
    let mut lately = Lately::default();
    while end > 0 {
        let begin = end.saturating_sub(page);
        let entries = tx.entries(begin).await?;
        let length = usize::try_from(end - begin).unwrap_or(usize::MAX);
        // Clocks of replicas differ: one entry that seems old does not say that those before it are.
        let mut newest = i64::MIN;
        for body in entries.iter().take(length).rev() {
            let glance: Glance =
                serde_json::from_slice(body).map_err(|_| StoreError::Malformed("audit entry"))?;
            newest = newest.max(glance.time);
            if glance.time > since && glance.cluster == *cluster {
                lately.take(glance, now);
            }
        }
        if newest <= since {
            break;
        }
        end = begin;
    }
    Ok(lately)
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
        let told = |cluster: &ClusterName, held| Event::EvictionsHeld {
            cluster: cluster.clone(),
            nodes: 1,
            held,
        };
        let now = 10_000;
        let mut tx = store.write().await.unwrap();
        for (event, at) in [
            (ended("old", &[]), now - 600),
            (told(&here, true), now - 400),
            (ended("a", &["tier-too-low"]), now - 300),
            (ended("a", &["tier-too-low", "workload-changed"]), now - 60),
            // For what they were themselves.
            (ended("a", &["workload-changed"]), now - 30),
            (ended("b", &["image-other-runs"]), now - 30),
            // Elsewhere.
            (within(&west, "a", &[]), now - 30),
            (within(&west, "b", &[]), now - 30),
            (told(&here, false), now - 30),
        ] {
            audit::append(&mut tx, &event, &Actor::Attestor, at)
                .await
                .unwrap();
        }
        // Beyond a page, and one of them by a clock that is behind.
        for number in 0..=PAGE {
            let at = now - 700 * i64::from(number == 5);
            audit::append(&mut tx, &told(&west, true), &Actor::Attestor, at)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        let found = read(&store, &here, now).await.unwrap();
        assert_eq!(
            found.lost,
            HashMap::from([("a".to_owned(), Duration::from_secs(60))])
        );
        assert_eq!(found.held, Some(false));
        assert_eq!(read(&store, &west, now).await.unwrap().held, Some(true));
        let later = read(&store, &here, now + 600).await.unwrap();
        assert!(later.lost.is_empty() && later.held.is_none());
    }
}
