//! Pods that wait for a host that fits: once there is one, schedulers may look at them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::node::Node;
use touchstone_kubernetes::pods::Pod;

use super::Moment;
use super::evictions::refusals;
use super::judged::Judged;
use super::notices::Notices;
use super::pod_notices;
use super::pods::{Known, Looked, Meant};

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
        cluster: &Cluster,
        notices: &mut Notices,
        looked: &Looked,
        judged: &[(Arc<Node>, Judged)],
        at: Moment,
    ) {
        let mut fitting = HashMap::new();
        let mut tried = 0;
        for known in self.turns(&looked.gated, at.instant) {
            if tried == OPENED_MAX {
                return;
            }
            let fits = known.meant.as_ref().is_none_or(|meant| {
                // What a host is asked for stands in the policies: the same for all their pods.
                let fits = || fits_somewhere(looked, meant, judged, at.now);
                *fitting.entry(&meant.policies).or_insert_with(fits)
            });
            if !fits {
                continue;
            }
            let pod = &known.pod;
            tried += 1;
            self.last = namespace(pod).to_owned();
            match cluster.open_gate(pod).await {
                Ok(()) => {
                    self.failed.remove(known.uid());
                    let said = pod_notices::let_go(known.meant.is_some());
                    notices.of_pod(pod, said, at.now);
                }
                Err(error) => {
                    self.put_off(known.uid(), at.instant);
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
    fn turns<'a>(&mut self, gated: &'a [Arc<Known>], now: Instant) -> Vec<&'a Known> {
        let waiting: HashSet<&str> = gated.iter().map(|known| known.uid()).collect();
        self.failed.retain(|uid, _| waiting.contains(&**uid));
        let put_off = |known: &Known| {
            self.failed
                .get(known.uid())
                .is_some_and(|it| it.until > now)
        };
        let mut by_namespace: BTreeMap<(bool, &str), Vec<&Known>> = BTreeMap::new();
        for known in gated.iter().filter(|known| !put_off(known)) {
            let name = namespace(&known.pod);
            let key = (name <= &*self.last, name);
            by_namespace.entry(key).or_default().push(known);
        }
        let mut turns: Vec<(usize, &Known)> = Vec::new();
        for pods in by_namespace.into_values() {
            turns.extend(pods.into_iter().enumerate());
        }
        turns.sort_by_key(|(turn, _)| *turn);
        turns.into_iter().map(|(_, known)| known).collect()
    }

    fn put_off(&mut self, uid: &str, now: Instant) {
        let before = self.failed.get(uid);
        let pause = before.map_or(PAUSE, |failed| failed.pause.saturating_mul(2));
        let pause = pause.min(PAUSE_MAX);
        let failed = Failed {
            until: now + pause,
            pause,
        };
        self.failed.insert(uid.to_owned(), failed);
    }
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// Whether a pod of these policies would be let onto any node.
fn fits_somewhere(
    looked: &Looked,
    meant: &Meant,
    judged: &[(Arc<Node>, Judged)],
    now: i64,
) -> bool {
    let selected = meant.selected(&looked.policies);
    judged.iter().any(|(node, judged)| {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        refusals(&looked.policies, &selected, Some(judged), name, now).is_empty()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    fn pods(namespace: &str, count: usize) -> Vec<Arc<Known>> {
        let pod = |number: usize| {
            let name = format!("{namespace}-{number}");
            let metadata = json!({ "name": name, "namespace": namespace, "uid": name });
            let pod = json!({ "metadata": metadata, "spec": {} });
            let pod = Arc::new(serde_json::from_value(pod).unwrap());
            Arc::new(Known { pod, meant: None })
        };
        (0..count).map(pod).collect()
    }

    fn uids<'a>(turns: &[&'a Known]) -> Vec<&'a str> {
        turns.iter().map(|known| known.uid()).collect()
    }

    #[test]
    fn namespaces_take_turns_and_what_cannot_be_opened_waits() {
        let (mut gates, now) = (Gates::default(), Instant::now());
        let all = [pods("mallory", 3 * OPENED_MAX), pods("shop", 2)].concat();
        let turns = gates.turns(&all, now);
        assert_eq!(
            uids(&turns)[..4],
            ["mallory-0", "shop-0", "mallory-1", "shop-1"]
        );
        assert_eq!(turns.len(), 3 * OPENED_MAX + 2);
        // Behind the one that was served last.
        gates.last = "mallory".to_owned();
        assert_eq!(
            uids(&gates.turns(&all, now))[..3],
            ["shop-0", "mallory-0", "shop-1"]
        );
        let first = "mallory-0";
        for pause in [PAUSE, 2 * PAUSE, 4 * PAUSE] {
            gates.put_off(first, now);
            let waits = |gates: &mut Gates, at| !uids(&gates.turns(&all, at)).contains(&first);
            let just_before = now + pause - Duration::from_millis(1);
            assert!(waits(&mut gates, just_before));
            assert!(!waits(&mut gates, now + pause));
        }
        // What waits no more is forgotten.
        gates.turns(&pods("shop", 1), now);
        assert!(gates.failed.is_empty());
    }
}
