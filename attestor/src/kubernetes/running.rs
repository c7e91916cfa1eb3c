//! Pods that run, of a workload that has no record yet: as from before a policy was for them.
//!
//! Whoever may make pods may name any controller. A record that another pod left would have all of these ended.

use std::sync::Arc;

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::pods::Pod;
use touchstone_kubernetes::{pod as read, workload};
use touchstone_policies::admit::workload::{changes, made_of};
use touchstone_policies::admit::{PodFacts, Workload, policies_for, policies_for_any};
use touchstone_policies::manifest::PolicySet;

use super::judge::Judge;
use crate::store::StoreError;

impl Judge<'_> {
    /// How `pods`, which are one that would be the first of its workload, differ from those of it that run, where a cluster
    /// is watched; those alone that `policies` are for, which a record would end.
    pub(super) async fn unlike_running(
        &self,
        policies: &PolicySet,
        pods: &[PodFacts],
    ) -> Result<Vec<Finding>, StoreError> {
        let cluster: Option<&Cluster> = self.webhook.cluster.as_deref();
        let is_first =
            self.request.operation == "CREATE" && !policies_for_any(policies, pods).is_empty();
        let (Some(cluster), Some(pod), true) = (cluster, pods.first(), is_first) else {
            return Ok(Vec::new());
        };
        let controlled = pod.workload.as_ref().filter(|of| !of.is_alone());
        let Some(workload) = controlled else {
            return Ok(Vec::new());
        };
        let namespace = &*pod.namespace;
        let workloads = &self.attestor.workloads;
        if workloads.of(namespace, workload).await?.is_some() {
            return Ok(Vec::new());
        }
        if !cluster.pods_are_listed() {
            return Ok(vec![Finding::new("cluster-unanswered")]);
        }
        let running = cluster.bound_pods();
        let mut all = pods.iter();
        let unlike = all.find_map(|pod| unlike(policies, &running, (namespace, workload), pod));
        Ok(unlike.unwrap_or_default())
    }
}

/// How `now` differs from the first of `running` of its workload that it differs from.
fn unlike(
    policies: &PolicySet,
    running: &[Arc<Pod>],
    (namespace, workload): (&str, &Workload),
    now: &PodFacts,
) -> Option<Vec<Finding>> {
    let of_namespace = |pod: &&Arc<Pod>| pod.metadata.namespace.as_deref() == Some(namespace);
    let now = made_of(now);
    let mut others = running
        .iter()
        .filter(of_namespace)
        .filter(|pod| workload::of_held(&pod.metadata).as_ref() == Some(workload));
    others.find_map(|other| {
        let labels = other.metadata.labels.clone().unwrap_or_default();
        let facts = read::facts(namespace, &labels, &other.spec);
        if policies_for(policies, &facts).is_empty() {
            return None;
        }
        let changes = changes(&made_of(&facts), &now);
        (!changes.is_empty()).then_some(changes)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::{Value, json};

    use super::*;

    fn pod(namespace: &str, owner: &str, image: &str) -> Arc<Pod> {
        let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api", "uid": owner, "controller": true });
        let pod: Value = json!({
            "metadata": { "name": "api-0", "namespace": namespace, "uid": "u", "ownerReferences": [owner] },
            "spec": { "nodeName": "a", "containers": [{ "name": "c", "image": image }] },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn who_names_another_s_controller_is_held_against_what_runs_of_it() {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [payments]}, host: {tier: affirming}}\n";
        let policies = PolicySet::parse(manifest).unwrap();
        let running = [
            pod("payments", "rs-1", "r.example/a:1"),
            pod("payments", "rs-2", "r.example/b:1"),
            pod("shop", "rs-3", "r.example/c:1"),
        ];
        let codes = |owner: &str, image: &str| {
            let new = pod("payments", owner, image);
            let workload = workload::of_held(&new.metadata).unwrap();
            let facts = read::facts("payments", &Default::default(), &new.spec);
            let found = unlike(&policies, &running, ("payments", &workload), &facts);
            let found = found.unwrap_or_default().into_iter();
            found.map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(codes("rs-1", "r.example/a:1"), [""; 0]);
        assert_eq!(codes("rs-1", "r.example/b:1"), ["workload-changed"]);
        assert_eq!(codes("rs-2", "r.example/b:1"), [""; 0]);
        // Of another namespace, and of one of which none runs.
        assert_eq!(codes("rs-3", "r.example/a:1"), [""; 0]);
        assert_eq!(codes("rs-4", "r.example/a:1"), [""; 0]);
        // And none that no policy is for, which nobody ends and nobody judged.
        let nobody = PolicySet::empty();
        let new = pod("payments", "rs-1", "r.example/b:1");
        let workload = workload::of_held(&new.metadata).unwrap();
        let facts = read::facts("payments", &Default::default(), &new.spec);
        let of = ("payments", &workload);
        assert_eq!(unlike(&nobody, &running, of, &facts), None);
    }
}
