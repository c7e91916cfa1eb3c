//! Pods whose CREATE review was answered here, kept for minutes until they are bound.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use touchstone_policies::admit::PodFacts;

/// How long a pod waits for its binding before it must be created again.
const KEPT: Duration = Duration::from_secs(600);
/// Most pods kept; beyond it the oldest goes.
const PODS_MAX: usize = 20_000;

/// By uid. Bounded in number and time.
#[derive(Default)]
pub(crate) struct PodMemory {
    pods: Mutex<HashMap<String, Remembered>>,
}

struct Remembered {
    namespace: String,
    name: String,
    facts: PodFacts,
    since: Instant,
}

impl PodMemory {
    /// Keeps a pod.
    pub(crate) fn remember(&self, uid: String, namespace: &str, name: &str, facts: PodFacts) {
        let now = Instant::now();
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if pods.len() >= PODS_MAX {
            pods.retain(|_, pod| now.duration_since(pod.since) < KEPT);
        }
        if pods.len() >= PODS_MAX {
            let oldest = pods.iter().min_by_key(|(_, pod)| pod.since);
            if let Some(uid) = oldest.map(|(uid, _)| uid.clone()) {
                pods.remove(&uid);
            }
        }
        let pod = Remembered {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            facts,
            since: now,
        };
        pods.insert(uid, pod);
    }

    /// The pod with this uid, if it is kept and is the one of that namespace and name.
    pub(crate) fn recall(&self, uid: &str, namespace: &str, name: &str) -> Option<PodFacts> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let pod = pods.get(uid)?;
        let same = pod.namespace == namespace && pod.name == name;
        (same && pod.since.elapsed() < KEPT).then(|| pod.facts.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn a_pod_is_recalled_only_under_its_own_uid_namespace_and_name() {
        let memory = PodMemory::default();
        let facts = PodFacts {
            namespace: "payments".to_owned(),
            labels: std::collections::BTreeMap::new(),
        };
        memory.remember("u1".to_owned(), "payments", "api", facts.clone());
        assert_eq!(memory.recall("u1", "payments", "api"), Some(facts));
        assert_eq!(memory.recall("u2", "payments", "api"), None);
        assert_eq!(memory.recall("u1", "default", "api"), None);
        assert_eq!(memory.recall("u1", "payments", "other"), None);
    }

    #[test]
    fn a_pod_that_waited_too_long_is_forgotten() {
        let memory = PodMemory::default();
        let facts = PodFacts {
            namespace: "payments".to_owned(),
            labels: std::collections::BTreeMap::new(),
        };
        memory.remember("u1".to_owned(), "payments", "api", facts);
        for pod in memory.pods.lock().unwrap().values_mut() {
            pod.since = pod.since.checked_sub(KEPT).unwrap();
        }
        assert_eq!(memory.recall("u1", "payments", "api"), None);
    }
}
