//! What is to be said of nodes and pods where operators look first (`kubectl describe`), on its way to the API server.
//!
//! Nothing waits for it: one task writes, and what does not fit into its queue is not said. The log has all that was done.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::node::Node;
use touchstone_kubernetes::notice::{Notice, Said};
use touchstone_kubernetes::pods::Pod;

/// Most of nodes in a round. The others are said in the next one.
const NODES_MAX: usize = 50;
/// Most of pods in a round.
const PODS_MAX: usize = 60;
/// Most of them of one namespace: whose pods end all the time keeps those of others from being told.
const NAMESPACE_MAX: usize = 10;
/// What waits to be written: a few rounds.
const QUEUE: usize = 256;
/// Between two warnings that some were not written.
const COMPLAINTS: Duration = Duration::from_secs(600);
/// Most codes that are named.
const CODES_MAX: usize = 8;

/// Who says it, while this replica leads.
pub(super) struct Notices {
    queue: mpsc::Sender<Notice>,
    /// How many of nodes were said in this round.
    nodes: usize,
    /// How many of pods, by namespace.
    pods: HashMap<String, usize>,
    /// Whether one of a pod was left out in this round, and in the one before.
    left_out: bool,
    left_out_before: bool,
}

impl Notices {
    /// Begins to write. What is in the queue when this is dropped is written yet: it was done while this replica led.
    pub(super) fn start(cluster: &Arc<Cluster>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(write_all(Arc::clone(cluster), waiting));
        Self::into(queue)
    }

    fn into(queue: mpsc::Sender<Notice>) -> Self {
        Self {
            queue,
            nodes: 0,
            pods: HashMap::new(),
            left_out: false,
            left_out_before: false,
        }
    }

    /// Begins a round.
    pub(super) fn begin(&mut self) {
        self.nodes = 0;
        self.pods.clear();
        self.left_out_before = std::mem::take(&mut self.left_out);
    }

    /// Says something of a node; whether it will be written, as far as anybody can know.
    pub(super) fn of_node(&mut self, node: &Node, said: Said, now: i64) -> bool {
        let Some(notice) = Notice::of_node(node, said, now) else {
            return true;
        };
        if self.nodes >= NODES_MAX || self.queue.try_send(notice).is_err() {
            return false;
        }
        self.nodes = self.nodes.saturating_add(1);
        true
    }

    /// Says something of a pod, which may not be there any more in the next round.
    pub(super) fn of_pod(&mut self, pod: &Pod, said: Said, now: i64) {
        let Some(notice) = Notice::of_pod(pod, said, now) else {
            return;
        };
        let all: usize = self.pods.values().sum();
        let of_namespace = self.pods.entry(notice.namespace().to_owned()).or_default();
        let fits = all < PODS_MAX && *of_namespace < NAMESPACE_MAX;
        if fits && self.queue.try_send(notice).is_ok() {
            *of_namespace = of_namespace.saturating_add(1);
            return;
        }
        if !self.left_out && !self.left_out_before {
            tracing::warn!(
                "more happens to pods at once than events are written for; the audit log has each that was ended"
            );
        }
        self.left_out = true;
    }
}

async fn write_all(cluster: Arc<Cluster>, mut waiting: mpsc::Receiver<Notice>) {
    let mut complained: Option<Instant> = None;
    while let Some(notice) = waiting.recv().await {
        let Err(error) = cluster.notify(&notice).await else {
            continue;
        };
        let error = &error as &dyn std::error::Error;
        if complained.is_some_and(|at| at.elapsed() < COMPLAINTS) {
            tracing::debug!(error, "an event was not written");
        } else {
            complained = Some(Instant::now());
            tracing::warn!(
                error,
                "events of nodes and pods are not written; all else is done as ever"
            );
        }
    }
}

/// The codes, each once: what firmware or a registry wrote is not repeated to whoever may read events.
pub(super) fn codes(findings: &[Finding]) -> String {
    let mut codes: Vec<&str> = Vec::new();
    for finding in findings {
        if !codes.contains(&&*finding.code) {
            codes.push(&finding.code);
        }
    }
    match codes.split_at_checked(CODES_MAX) {
        Some((first, more)) if !more.is_empty() => {
            format!("{} and {} more", first.join(", "), more.len())
        }
        _ => codes.join(", "),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    /// Such that nobody writes what they say, and what they said.
    pub(in super::super) fn unwritten() -> (Notices, mpsc::Receiver<Notice>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Notices::into(queue), waiting)
    }

    fn said() -> Said {
        Said {
            reason: "TouchstoneEnding",
            message: "why".to_owned(),
            warns: true,
        }
    }

    fn pod(namespace: &str) -> Pod {
        let metadata = json!({ "name": "p", "namespace": namespace, "uid": "u" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": {} })).unwrap()
    }

    fn count(waiting: &mut mpsc::Receiver<Notice>, namespace: &str) -> usize {
        let all = std::iter::from_fn(|| waiting.try_recv().ok());
        all.filter(|notice| notice.namespace() == namespace).count()
    }

    #[tokio::test]
    async fn of_one_namespace_a_few_are_said_in_a_round_and_of_others_as_many() {
        let (mut notices, mut waiting) = unwritten();
        notices.begin();
        for _ in 0..2 * PODS_MAX {
            notices.of_pod(&pod("mallory"), said(), 1);
        }
        notices.of_pod(&pod("shop"), said(), 1);
        assert_eq!(count(&mut waiting, "shop"), 1);
        notices.begin();
        for number in 0..2 * PODS_MAX {
            notices.of_pod(&pod(&format!("n-{number}")), said(), 1);
        }
        for _ in 0..NAMESPACE_MAX {
            notices.of_pod(&pod("mallory"), said(), 1);
        }
        assert_eq!(waiting.len(), PODS_MAX);
        assert_eq!(count(&mut waiting, "mallory"), 0);
        notices.begin();
        for _ in 0..=NAMESPACE_MAX {
            notices.of_pod(&pod("mallory"), said(), 1);
        }
        assert_eq!(count(&mut waiting, "mallory"), NAMESPACE_MAX);
    }

    #[tokio::test]
    async fn what_is_not_said_of_a_node_is_known_not_to_be() {
        let (mut notices, mut waiting) = unwritten();
        let node = json!({ "metadata": { "name": "n", "uid": "u" }, "spec": {} });
        let node = serde_json::from_value(node).unwrap();
        let say = |times: usize, notices: &mut Notices| {
            let told = (0..times).filter(|_| notices.of_node(&node, said(), 1));
            told.count()
        };
        assert_eq!(say(NODES_MAX + 1, &mut notices), NODES_MAX);
        assert_eq!(count(&mut waiting, "default"), NODES_MAX);
        // Whatever is written, it is no more than waits.
        let told: usize = (0..10)
            .map(|_| {
                notices.begin();
                say(NODES_MAX, &mut notices)
            })
            .sum();
        assert_eq!(told, QUEUE);
    }

    #[test]
    fn codes_are_named_once_and_not_all_of_very_many() {
        let findings: Vec<Finding> = (0..20)
            .map(|number| {
                Finding::new(&format!("code-{}", number / 2)).about("what an attacker wrote")
            })
            .collect();
        let first = "code-0, code-1, code-2, code-3, code-4, code-5, code-6, code-7";
        assert_eq!(codes(&findings), format!("{first} and 2 more"));
        assert_eq!(codes(&findings[..16]), first);
        assert_eq!(codes(&[]), "");
    }
}
