//! Pods that run, of a workload that has no record yet: as from before a policy was for them.
//!
//! Whoever may make pods may name any controller. A record that another pod left would have all of these ended.

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::pod as read;
use touchstone_policies::admit::workload::{self as made, MadeOf};
use touchstone_policies::admit::{PodFacts, policies_for_any};
use touchstone_policies::manifest::PolicySet;

use super::judge::Judge;

impl Judge<'_> {
    /// How `pods`, which are one, differ from those that run of its workload, where a cluster is watched and nothing is
    /// `recorded`, as [`Judge::records`] says.
    pub(super) fn unlike_running(
        &self,
        policies: &PolicySet,
        pods: &[PodFacts],
        recorded: &[Option<&[MadeOf]>],
    ) -> Vec<Finding> {
        let is_first = self.request.operation == "CREATE"
            && !matches!(recorded.first(), Some(Some(_)))
            && !policies_for_any(policies, pods).is_empty();
        let (Some(cluster), Some(pod), true) = (self.cluster(), pods.first(), is_first) else {
            return Vec::new();
        };
        let controlled = pod.workload.as_ref().filter(|of| !of.is_alone());
        let Some(workload) = controlled else {
            return Vec::new();
        };
        if !cluster.pods_are_listed() {
            return vec![Finding::new("cluster-unanswered")];
        }
        let namespace = &*pod.namespace;
        let running = cluster.bound_pods_of(namespace, workload);
        let running = running.iter().map(|pod| {
            let labels = pod.metadata.labels.clone().unwrap_or_default();
            read::facts(namespace, &labels, &pod.spec)
        });
        made::unlike_running(policies, pods, running)
    }
}
