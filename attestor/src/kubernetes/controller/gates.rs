//! Pods that wait for a host that fits: once there is one, schedulers may look at them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::node::Node;
use touchstone_kubernetes::pods::Pod;

use super::Moment;
use super::evictions::admission;
use super::judged::Judged;
use crate::attestor::Attestor;

/// Most gates that are opened in one round: each is a request, and others wait behind it.
const OPENED_MAX: usize = 20;

/// Before a gate that could not be opened is tried again; twice as long after each failure, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Gates that could not be opened, by the uid of their pod.
#[derive(Default)]
pub(super) struct Gates {
    failed: HashMap<String, Failed>,
    /// The namespace that was served last.
    last: String,
}

struct Failed {
    until: Instant,
    pause: Duration,
}

impl Gates {
    /// Opens the gate of each pod that some node would be admitted for, and of those that no policy is for any more.
    pub(super) async fn round(
        &mut self,
        attestor: &Attestor,
        cluster: &Cluster,
        judged: &[(Arc<Node>, Judged)],
        at: Moment,
    ) {
        let policies = attestor.index.policies();
        let mut tried = 0;
        for pod in self.turns(cluster.gated_pods(), at.instant) {
            if tried == OPENED_MAX {
                return;
            }
            let fits = |(node, judged): &(Arc<Node>, Judged)| {
                let name = node.metadata.name.as_deref().unwrap_or_default();
                admission(&policies, &pod, Some(judged), name, at.now).admitted()
            };
            if !judged.iter().any(fits) {
                continue;
            }
            tried += 1;
            self.last = namespace(&pod).to_owned();
            match cluster.open_gate(&pod).await {
                Ok(()) => drop(self.failed.remove(uid(&pod))),
                Err(error) => {
                    self.put_off(&pod, at.instant);
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        k8s.namespace = pod.metadata.namespace,
                        k8s.pod = pod.metadata.name,
                        "the gate of a pod could not be opened"
                    );
                }
            }
        }
    }

    /// Those whose turn it may be: one of each namespace, then a second one of each, beginning behind the namespace that was
    /// served last. Whoever's gates cannot be opened keeps nobody else's shut.
    fn turns(&mut self, pods: Vec<Arc<Pod>>, now: Instant) -> Vec<Arc<Pod>> {
        let waiting: HashSet<&str> = pods.iter().map(|pod| uid(pod)).collect();
        self.failed.retain(|uid, _| waiting.contains(&**uid));
        let failed = &self.failed;
        let put_off = |pod: &Arc<Pod>| failed.get(uid(pod)).is_some_and(|it| it.until > now);
        let mut by_namespace: BTreeMap<(bool, String), Vec<Arc<Pod>>> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| !put_off(pod)) {
            let name = namespace(pod);
            let key = (name <= &*self.last, name.to_owned());
            by_namespace.entry(key).or_default().push(Arc::clone(pod));
        }
        let mut turns: Vec<(usize, Arc<Pod>)> = Vec::new();
        for pods in by_namespace.into_values() {
            turns.extend(pods.into_iter().enumerate());
        }
        turns.sort_by_key(|(turn, _)| *turn);
        turns.into_iter().map(|(_, pod)| pod).collect()
    }

    fn put_off(&mut self, pod: &Pod, now: Instant) {
        let before = self.failed.get(uid(pod));
        let pause = before.map_or(PAUSE, |failed| failed.pause.saturating_mul(2));
        let pause = pause.min(PAUSE_MAX);
        let failed = Failed {
            until: now + pause,
            pause,
        };
        self.failed.insert(uid(pod).to_owned(), failed);
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    fn pods(namespace: &str, count: usize) -> Vec<Arc<Pod>> {
        let pod = |number: usize| {
            let name = format!("{namespace}-{number}");
            let metadata = json!({ "name": name, "namespace": namespace, "uid": name });
            let pod = json!({ "metadata": metadata, "spec": {} });
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        (0..count).map(pod).collect()
    }

    fn uids(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().map(|pod| uid(pod)).collect()
    }

    #[test]
    fn namespaces_take_turns_and_what_cannot_be_opened_waits() {
        let (mut gates, now) = (Gates::default(), Instant::now());
        let all = || [pods("mallory", 3 * OPENED_MAX), pods("shop", 2)].concat();
        let turns = gates.turns(all(), now);
        assert_eq!(
            uids(&turns)[..4],
            ["mallory-0", "shop-0", "mallory-1", "shop-1"]
        );
        assert_eq!(turns.len(), 3 * OPENED_MAX + 2);
        // Behind the one that was served last.
        gates.last = "mallory".to_owned();
        assert_eq!(
            uids(&gates.turns(all(), now))[..3],
            ["shop-0", "mallory-0", "shop-1"]
        );
        let first = Arc::clone(&pods("mallory", 1)[0]);
        for pause in [PAUSE, 2 * PAUSE, 4 * PAUSE] {
            gates.put_off(&first, now);
            let waits =
                |gates: &mut Gates, at| !uids(&gates.turns(all(), at)).contains(&uid(&first));
            let just_before = now + pause - Duration::from_millis(1);
            assert!(waits(&mut gates, just_before));
            assert!(!waits(&mut gates, now + pause));
        }
        // What waits no more is forgotten.
        gates.turns(pods("shop", 1), now);
        assert!(gates.failed.is_empty());
    }
}
