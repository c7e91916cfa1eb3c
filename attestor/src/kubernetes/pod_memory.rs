//! Pods whose CREATE review was answered here, kept for minutes until they are bound.
//!
//! Bounded in number, in bytes and in time, at the same cost for each pod however many are kept. Where there is no
//! more room, the namespace that takes most of it loses its oldest pod, so that nobody pushes out others' pods.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use touchstone_policies::admit::PodFacts;

/// How long a pod waits for its binding before it must be created again.
const KEPT: Duration = Duration::from_secs(600);
/// Most pods kept.
const PODS_MAX: usize = 20_000;
/// Places in an order beyond two for each pod: with more, those that stand for nothing are taken out.
const ORDER_SPARE: usize = 16;
/// Most bytes of labels and images kept.
const BYTES_MAX: usize = 64 << 20;
/// Most bytes of labels and images of one pod: a thousand long ones. With more it is not bound.
const POD_BYTES_MAX: usize = 256 << 10;
/// Most sets of facts that one pod is seen with. With more it is not bound.
const SETS_MAX: usize = 16;
/// What a label takes besides its text, about.
const LABEL_BYTES: usize = 64;
/// What an image takes besides its texts, about.
const IMAGE_BYTES: usize = 160;

/// By uid.
#[derive(Default)]
pub(crate) struct PodMemory {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pods: HashMap<String, Remembered>,
    /// Those that a kept pod is of.
    namespaces: HashMap<String, Namespace>,
    order: Order,
    bytes: usize,
}

/// Since when which pod is kept, the oldest first. One that was seen again stands in it once more.
type Order = VecDeque<(Instant, String)>;

/// What the pods of one namespace take.
#[derive(Default)]
struct Namespace {
    pods: usize,
    bytes: usize,
    order: Order,
}

struct Remembered {
    namespace: String,
    name: String,
    /// Every set of facts that it was seen with: which of them are so, reviews do not tell.
    seen: Vec<PodFacts>,
    bytes: usize,
    since: Instant,
}

/// What is kept of a pod.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Recalled {
    /// It was not seen here, or too long ago.
    Nothing,
    /// Each set of facts that it was seen with.
    Seen(Vec<PodFacts>),
    /// It was seen with more than is kept: nobody knows all that it may be.
    TooMuch,
}

impl PodMemory {
    /// Keeps a pod that is created.
    pub(crate) fn remember(&self, uid: String, namespace: &str, name: &str, facts: PodFacts) {
        let now = Instant::now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let pod = inner.take(&uid).unwrap_or_else(|| Remembered {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            seen: Vec::new(),
            bytes: uid.len() + namespace.len() + name.len(),
            since: now,
        });
        inner.put(uid, pod.seen_with(facts, now));
        inner.make_room(now);
    }

    /// Keeps one more set of facts of a pod that is kept. One that is not stays unknown: what it was created with
    /// would be passed over.
    pub(crate) fn add(&self, uid: &str, facts: PodFacts) {
        let now = Instant::now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pod) = inner.take(uid) {
            inner.put(uid.to_owned(), pod.seen_with(facts, now));
            inner.make_room(now);
        }
    }

    /// What is kept of the pod with this uid, if it is the one of that namespace and name.
    pub(crate) fn recall(&self, uid: &str, namespace: &str, name: &str) -> Recalled {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |pod: &&Remembered| {
            let same = pod.namespace == namespace && pod.name == name;
            same && pod.since.elapsed() < KEPT
        };
        match inner.pods.get(uid).filter(is_it) {
            None => Recalled::Nothing,
            Some(pod) if pod.is_whole() => Recalled::Seen(pod.seen.clone()),
            Some(_) => Recalled::TooMuch,
        }
    }
}

impl Remembered {
    /// Whether everything that it was seen with is kept.
    fn is_whole(&self) -> bool {
        self.seen.len() <= SETS_MAX && self.bytes <= POD_BYTES_MAX
    }

    /// Beyond the bounds nothing is added, and the pod stays without an answer.
    fn seen_with(mut self, facts: PodFacts, now: Instant) -> Self {
        self.since = now;
        if self.seen.contains(&facts) || self.seen.len() > SETS_MAX || self.bytes > POD_BYTES_MAX {
            return self;
        }
        self.bytes = self.bytes.saturating_add(size(&facts));
        match self.bytes > POD_BYTES_MAX {
            // They are not kept, only that there are too many.
            true => self.seen.clear(),
            false => self.seen.push(facts),
        }
        self
    }
}

impl Inner {
    fn put(&mut self, uid: String, pod: Remembered) {
        let place = (pod.since, uid.clone());
        let namespace = self.namespaces.entry(pod.namespace.clone()).or_default();
        namespace.pods = namespace.pods.saturating_add(1);
        namespace.bytes = namespace.bytes.saturating_add(pod.bytes);
        self.bytes = self.bytes.saturating_add(pod.bytes);
        self.pods.insert(uid, pod);
        let all = self.pods.len();
        for (order, pods) in [
            (&mut namespace.order, namespace.pods),
            (&mut self.order, all),
        ] {
            order.push_back(place.clone());
            if order.len() > longest(pods) {
                order.retain(|place| stands(&self.pods, place));
            }
        }
    }

    fn take(&mut self, uid: &str) -> Option<Remembered> {
        let pod = self.pods.remove(uid)?;
        self.bytes = self.bytes.saturating_sub(pod.bytes);
        if let Some(namespace) = self.namespaces.get_mut(&pod.namespace) {
            namespace.pods = namespace.pods.saturating_sub(1);
            namespace.bytes = namespace.bytes.saturating_sub(pod.bytes);
            if namespace.pods == 0 {
                self.namespaces.remove(&pod.namespace);
            }
        }
        Some(pod)
    }

    /// Lets go of what has waited too long, and of as much as there is too much of.
    fn make_room(&mut self, now: Instant) {
        while let Some(first) = self.order.front() {
            let stands = stands(&self.pods, first);
            if stands && now.duration_since(first.0) < KEPT {
                break;
            }
            let first = self.order.pop_front().filter(|_| stands);
            if let Some((_, uid)) = first {
                self.take(&uid);
            }
        }
        while self.pods.len() > PODS_MAX || self.bytes > BYTES_MAX {
            let largest = self.namespaces.iter().max_by_key(|(_, taken)| taken.bytes);
            let Some(largest) = largest.map(|(name, _)| name.clone()) else {
                return;
            };
            self.drop_oldest(&largest);
        }
    }

    /// Drops the first pod of `namespace` that still stands where it stood in its order.
    fn drop_oldest(&mut self, namespace: &str) {
        let Some(taken) = self.namespaces.get_mut(namespace) else {
            return;
        };
        while let Some(place) = taken.order.pop_front() {
            if stands(&self.pods, &place) {
                self.take(&place.1);
                return;
            }
        }
        self.namespaces.remove(namespace);
    }
}

/// Longest order of so many pods.
fn longest(pods: usize) -> usize {
    pods.saturating_mul(2).saturating_add(ORDER_SPARE)
}

/// Whether the pod was not seen again since, nor dropped.
fn stands(pods: &HashMap<String, Remembered>, (since, uid): &(Instant, String)) -> bool {
    pods.get(uid).is_some_and(|pod| pod.since == *since)
}

fn size(facts: &PodFacts) -> usize {
    let labels = facts.labels.iter();
    let labels = labels.map(|(key, value)| key.len() + value.len() + LABEL_BYTES);
    let images = facts.images.iter().map(|image| {
        let name = image.name.as_ref().map_or(0, String::len);
        image.container.len() + image.reference.len() + name + IMAGE_BYTES
    });
    let workload = facts.workload.iter().map(|of| {
        let texts = [&of.kind, &of.name, &of.uid, &of.revision];
        texts.map(String::len).iter().sum()
    });
    let beginning = facts.service_account.len() + LABEL_BYTES;
    let secrets = facts.pull_secrets.iter().map(String::len);
    let tolerates = facts.tolerates.iter().map(String::len);
    let labels = labels.chain(workload).chain(secrets).chain(tolerates);
    labels.chain(images).fold(beginning, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::collections::BTreeMap;

    use super::*;

    fn labelled(labels: &[(&str, &str)]) -> PodFacts {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        PodFacts {
            namespace: "payments".to_owned(),
            labels: labels.collect::<BTreeMap<_, _>>(),
            ..PodFacts::default()
        }
    }

    fn facts() -> PodFacts {
        labelled(&[])
    }

    #[test]
    fn a_pod_is_recalled_only_under_its_own_uid_namespace_and_name() {
        let memory = PodMemory::default();
        memory.remember("u1".to_owned(), "payments", "api", facts());
        let seen = Recalled::Seen(vec![facts()]);
        assert_eq!(memory.recall("u1", "payments", "api"), seen);
        assert_eq!(memory.recall("u2", "payments", "api"), Recalled::Nothing);
        assert_eq!(memory.recall("u1", "default", "api"), Recalled::Nothing);
        assert_eq!(memory.recall("u1", "payments", "other"), Recalled::Nothing);
    }

    #[test]
    fn labels_that_a_pod_was_seen_with_are_kept_beside_those_of_an_update() {
        let memory = PodMemory::default();
        let labels = labelled(&[("app", "payments")]);
        memory.add("u1", facts());
        assert_eq!(memory.recall("u1", "payments", "api"), Recalled::Nothing);
        memory.remember("u1".to_owned(), "payments", "api", labels.clone());
        memory.add("u1", facts());
        memory.add("u1", labels.clone());
        let seen = memory.recall("u1", "payments", "api");
        assert_eq!(seen, Recalled::Seen(vec![labels, facts()]));
        for number in 0..2 * SETS_MAX {
            memory.add("u1", labelled(&[("n", &number.to_string())]));
        }
        assert_eq!(memory.recall("u1", "payments", "api"), Recalled::TooMuch);
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
        assert_eq!(memory.recall("u1", "payments", "api"), Recalled::Nothing);
        // A pod of another namespace makes room for it: nobody may come back to the first.
        memory.remember("u2".to_owned(), "default", "api", facts());
        let inner = memory.inner.lock().unwrap();
        assert_eq!(inner.pods.keys().collect::<Vec<_>>(), ["u2"]);
        assert_eq!(inner.namespaces.keys().collect::<Vec<_>>(), ["default"]);
    }

    #[test]
    fn the_oldest_of_the_namespace_that_has_most_goes_first() {
        let memory = PodMemory::default();
        let keep = |number: usize| memory.remember(number.to_string(), "payments", "api", facts());
        let kept = |number: usize| {
            memory.recall(&number.to_string(), "payments", "api") != Recalled::Nothing
        };
        memory.remember("other".to_owned(), "default", "api", facts());
        (0..PODS_MAX - 1).for_each(keep);
        keep(0);
        keep(PODS_MAX);
        assert!(kept(0) && kept(PODS_MAX) && !kept(1) && kept(2));
        assert_ne!(memory.recall("other", "default", "api"), Recalled::Nothing);
        // The oldest stays, and another one is seen again and again behind it.
        (0..5 * PODS_MAX).for_each(|_| keep(PODS_MAX));
        let inner = memory.inner.lock().unwrap();
        assert!(inner.pods.len() <= PODS_MAX);
        assert!(inner.namespaces["payments"].order.len() <= longest(PODS_MAX));
        assert!(inner.order.len() <= longest(PODS_MAX));
    }

    #[test]
    fn a_namespace_with_a_pod_now_and_then_keeps_nothing_of_those_that_are_gone() {
        let memory = PodMemory::default();
        for number in 0..1000_u32 {
            memory.remember(number.to_string(), "payments", "api", facts());
            let mut inner = memory.inner.lock().unwrap();
            if let Some(before) = number.checked_sub(1) {
                inner.take(&before.to_string());
            }
            let (own, all) = (inner.namespaces["payments"].order.len(), inner.order.len());
            assert!(own.max(all) <= 4 + ORDER_SPARE, "{own} {all}");
        }
    }

    #[test]
    fn labels_take_a_bounded_room() {
        let memory = PodMemory::default();
        let long = "x".repeat(POD_BYTES_MAX / 2);
        for number in 0..4 * BYTES_MAX / POD_BYTES_MAX {
            let facts = labelled(&[("long", &long)]);
            memory.remember(number.to_string(), "payments", "api", facts);
        }
        let inner = memory.inner.lock().unwrap();
        let bytes: usize = inner.pods.values().map(|pod| pod.bytes).sum();
        assert!(bytes <= BYTES_MAX && bytes > BYTES_MAX / 2 && bytes == inner.bytes);
        drop(inner);
        let facts = labelled(&[("long", &"x".repeat(POD_BYTES_MAX))]);
        memory.remember("u1".to_owned(), "payments", "api", facts);
        memory.add("u1", labelled(&[]));
        assert_eq!(memory.recall("u1", "payments", "api"), Recalled::TooMuch);
    }
}
