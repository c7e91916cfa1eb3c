//! Where pods of workloads are and were, held in memory: which pod comes after which is found without a look at all.

use std::collections::{BTreeSet, HashMap, HashSet};

use touchstone_evidence::digest::Sha256Digest;

use crate::store::KeptPlace;

/// As they are kept in the database.
#[derive(Default)]
pub(super) struct Places {
    by_uid: HashMap<String, KeptPlace>,
    /// By workload: the uids of pods that ended and that none came after yet.
    ended: HashMap<Sha256Digest, BTreeSet<String>>,
}

impl Places {
    pub(super) fn of(kept: impl IntoIterator<Item = KeptPlace>) -> Self {
        let mut places = Self::default();
        kept.into_iter().for_each(|place| places.put(place));
        places
    }

    pub(super) fn has(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    pub(super) fn put(&mut self, place: KeptPlace) {
        let uid = place.pod_uid.clone();
        if place.ended_at.is_some() {
            let ended = self.ended.entry(place.workload).or_default();
            ended.insert(uid.clone());
        }
        self.by_uid.insert(uid, place);
    }

    /// Ends, `now`, those whose pods are not `there`; returns them.
    pub(super) fn end(&mut self, there: &HashSet<&str>, now: i64) -> Vec<KeptPlace> {
        let mut all = Vec::new();
        for place in self.by_uid.values_mut() {
            if place.ended_at.is_none() && !there.contains(&*place.pod_uid) {
                place.ended_at = Some(now);
                let ended = self.ended.entry(place.workload).or_default();
                ended.insert(place.pod_uid.clone());
                all.push(place.clone());
            }
        }
        all
    }

    /// Takes out the place that `new` comes after: one of its workload where the pod ended and that none came after yet. Of
    /// several, one of its name, as of StatefulSets; else one of its node, as of DaemonSets; else the one that ended first.
    pub(super) fn take_before(&mut self, new: &KeptPlace) -> Option<KeptPlace> {
        let ended = self.ended.get_mut(&new.workload)?;
        let places = ended.iter().filter_map(|uid| self.by_uid.get(uid));
        let first = places.min_by_key(|place| {
            let (other_name, other_node) = (place.pod != new.pod, place.node != new.node);
            (other_name, other_node, place.ended_at, &place.pod_uid)
        });
        let uid = first?.pod_uid.clone();
        ended.remove(&uid);
        if ended.is_empty() {
            self.ended.remove(&new.workload);
        }
        self.by_uid.remove(&uid)
    }
}

#[cfg(test)]
mod tests {
    use touchstone_kubernetes::cluster_name::ClusterName;

    use super::*;

    fn place(uid: &str, workload: &str, pod: &str, node: &str, ended: Option<i64>) -> KeptPlace {
        KeptPlace {
            cluster: ClusterName::default(),
            pod_uid: uid.to_owned(),
            workload: Sha256Digest::of(workload.as_bytes()),
            namespace: "payments".to_owned(),
            pod: pod.to_owned(),
            node: node.to_owned(),
            host: None,
            bound_at: 1,
            ended_at: ended,
        }
    }

    fn all() -> [KeptPlace; 5] {
        [
            place("u1", "w", "api-a", "n1", Some(30)),
            place("u2", "w", "api-b", "n2", Some(20)),
            place("u3", "w", "api-c", "n3", Some(10)),
            place("u4", "w", "api-d", "n4", None),
            place("u5", "v", "api-e", "n5", Some(5)),
        ]
    }

    fn taken(places: &mut Places, workload: &str, pod: &str, node: &str) -> String {
        let new = place("new", workload, pod, node, None);
        let before = places.take_before(&new);
        before.map(|place| place.pod_uid).unwrap_or_default()
    }

    #[test]
    fn a_pod_comes_after_one_of_its_workload_that_ended() {
        let before = |workload: &str, pod: &str, node: &str| {
            taken(&mut Places::of(all()), workload, pod, node)
        };
        assert_eq!(before("w", "api-b", "n1"), "u2");
        assert_eq!(before("w", "api-x", "n1"), "u1");
        assert_eq!(before("w", "api-x", "n9"), "u3");
        assert_eq!(before("w", "api-d", "n4"), "u3");
        assert_eq!(before("x", "api-a", "n1"), "");
    }

    #[test]
    fn one_pod_comes_after_each_that_ended_and_after_none_that_is_there() {
        let mut places = Places::of(all());
        let ended = places.end(&HashSet::from(["u1", "u2"]), 40);
        let uids: Vec<&str> = ended.iter().map(|place| &*place.pod_uid).collect();
        assert_eq!((uids, ended[0].ended_at), (vec!["u4"], Some(40)));
        assert!(places.end(&HashSet::new(), 41).is_empty());
        let order = ["u3", "u2", "u1", "u4", ""];
        for uid in order {
            assert_eq!(taken(&mut places, "w", "api-x", "n9"), uid);
            assert!(!places.has(uid));
        }
        assert!(places.has("u5"));
        // Nothing stays of those that were followed.
        assert_eq!((places.by_uid.len(), places.ended.len()), (1, 1));
    }
}
