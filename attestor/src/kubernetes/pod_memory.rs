//! Pods whose CREATE review was answered here, kept for minutes until they are bound.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use touchstone_policies::admit::PodFacts;

/// How long a pod waits for its binding before it must be created again.
const KEPT: Duration = Duration::from_secs(600);
/// Most pods kept; beyond it the oldest goes.
const PODS_MAX: usize = 20_000;

/// By uid. Bounded in number and time, at the same cost for each pod however many are kept.
#[derive(Default)]
pub(crate) struct PodMemory {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pods: HashMap<String, Remembered>,
    /// Since when which pod is kept, the oldest first. One that was seen again stands in it once more.
    order: VecDeque<(Instant, String)>,
}

struct Remembered {
    namespace: String,
    name: String,
    facts: PodFacts,
    since: Instant,
}

impl Inner {
    /// Lets go of what has waited too long, and of the oldest where there are too many.
    fn forget(&mut self, now: Instant) {
        while let Some((since, _)) = self.order.front() {
            let full = self.pods.len() >= PODS_MAX || self.order.len() >= 2 * PODS_MAX;
            if !full && now.duration_since(*since) < KEPT {
                return;
            }
            let Some((since, uid)) = self.order.pop_front() else {
                return;
            };
            // Not if it was seen again after that.
            if self.pods.get(&uid).is_some_and(|pod| pod.since == since) {
                self.pods.remove(&uid);
            }
        }
    }
}

impl PodMemory {
    /// Keeps a pod.
    pub(crate) fn remember(&self, uid: String, namespace: &str, name: &str, facts: PodFacts) {
        let now = Instant::now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forget(now);
        let pod = Remembered {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            facts,
            since: now,
        };
        inner.order.push_back((now, uid.clone()));
        inner.pods.insert(uid, pod);
    }

    /// The pod with this uid, if it is kept and is the one of that namespace and name.
    pub(crate) fn recall(&self, uid: &str, namespace: &str, name: &str) -> Option<PodFacts> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let pod = inner.pods.get(uid)?;
        let same = pod.namespace == namespace && pod.name == name;
        (same && pod.since.elapsed() < KEPT).then(|| pod.facts.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn facts() -> PodFacts {
        PodFacts {
            namespace: "payments".to_owned(),
            labels: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_pod_is_recalled_only_under_its_own_uid_namespace_and_name() {
        let memory = PodMemory::default();
        memory.remember("u1".to_owned(), "payments", "api", facts());
        assert_eq!(memory.recall("u1", "payments", "api"), Some(facts()));
        assert_eq!(memory.recall("u2", "payments", "api"), None);
        assert_eq!(memory.recall("u1", "default", "api"), None);
        assert_eq!(memory.recall("u1", "payments", "other"), None);
    }

    #[test]
    fn a_pod_that_waited_too_long_is_forgotten() {
        let memory = PodMemory::default();
        memory.remember("u1".to_owned(), "payments", "api", facts());
        let mut inner = memory.inner.lock().unwrap();
        let long_ago = Instant::now().checked_sub(KEPT).unwrap();
        inner.order[0].0 = long_ago;
        inner.pods.get_mut("u1").unwrap().since = long_ago;
        drop(inner);
        assert_eq!(memory.recall("u1", "payments", "api"), None);
        memory.remember("u2".to_owned(), "payments", "api", facts());
        assert_eq!(memory.inner.lock().unwrap().pods.len(), 1);
    }

    #[test]
    fn the_oldest_goes_first_and_what_was_seen_again_is_not_the_oldest() {
        let memory = PodMemory::default();
        let keep = |number: usize| memory.remember(number.to_string(), "payments", "api", facts());
        let kept = |number: usize| {
            memory
                .recall(&number.to_string(), "payments", "api")
                .is_some()
        };
        (0..PODS_MAX).for_each(keep);
        keep(0);
        keep(PODS_MAX);
        assert!(kept(0) && kept(PODS_MAX) && !kept(1) && kept(2));
        (0..3 * PODS_MAX).for_each(|_| keep(0));
        let inner = memory.inner.lock().unwrap();
        assert!(inner.order.len() <= 2 * PODS_MAX && inner.pods.len() <= PODS_MAX);
    }
}
