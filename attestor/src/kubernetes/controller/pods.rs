//! The pods of one round, with what policy looks at in each: found out once for each version of a pod and of the policies,
//! and the same for all that look at pods.

use std::collections::HashMap;
use std::sync::Arc;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::pods::Pod;
use touchstone_kubernetes::{pod, workload};
use touchstone_policies::admit::{PodFacts, Workload, concerns_namespace, policies_for};
use touchstone_policies::manifest::{PolicySet, WorkloadPolicy};

use super::integrity::{Differing, differing};

/// What was found out, by uid, and the policies that it was found out with.
#[derive(Default)]
pub(super) struct Pods {
    policies: Sha256Digest,
    known: HashMap<String, Arc<Known>>,
}

/// The pods of one round. One without a uid is none.
pub(super) struct Looked {
    pub(super) policies: Arc<PolicySet>,
    /// Those that are bound and have not ended.
    pub(super) bound: Vec<Arc<Known>>,
    /// Those that wait behind our scheduling gate.
    pub(super) gated: Vec<Arc<Known>>,
}

/// A pod; the same value for as long as neither it nor the policies change.
pub(super) struct Known {
    pub(super) pod: Arc<Pod>,
    /// `None`: no policy is for it.
    pub(super) meant: Option<Meant>,
}

/// A pod that some policy is for.
pub(super) struct Meant {
    /// Whose pod it is, too.
    pub(super) facts: PodFacts,
    /// Names of the policies, sorted.
    pub(super) policies: Vec<String>,
    /// Where its node reports another image than it names.
    pub(super) differing: Vec<Differing>,
}

impl Pods {
    /// Looks at all pods there are; forgets those that are there no more.
    pub(super) fn look(
        &mut self,
        policies: Arc<PolicySet>,
        bound: Vec<Arc<Pod>>,
        gated: Vec<Arc<Pod>>,
    ) -> Looked {
        let mut before = std::mem::take(&mut self.known);
        if self.policies != policies.digest {
            self.policies = policies.digest;
            before.clear();
        }
        let mut look = |pods: Vec<Arc<Pod>>| -> Vec<Arc<Known>> {
            let looked = pods.into_iter().filter_map(|pod| {
                let uid = pod.metadata.uid.as_deref()?;
                let kept = before.remove_entry(uid);
                let kept = kept.filter(|(_, known)| known.is_of(&pod));
                let (uid, known) = match kept {
                    Some(kept) => kept,
                    None => (uid.to_owned(), Arc::new(Known::find_out(&policies, pod))),
                };
                self.known.insert(uid, Arc::clone(&known));
                Some(known)
            });
            looked.collect()
        };
        Looked {
            bound: look(bound),
            gated: look(gated),
            policies,
        }
    }
}

impl Known {
    fn find_out(policies: &PolicySet, pod: Arc<Pod>) -> Self {
        let meant = meant(policies, &pod);
        Self { pod, meant }
    }

    pub(super) fn is_of(&self, pod: &Pod) -> bool {
        let version = &pod.metadata.resource_version;
        version.is_some() && *version == self.pod.metadata.resource_version
    }

    pub(super) fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Its namespace, and whose pod it is; `None`: no policy is for it, or nobody knows.
    pub(super) fn workload(&self) -> Option<(&str, &Workload)> {
        let facts = &self.meant.as_ref()?.facts;
        Some((&facts.namespace, facts.workload.as_ref()?))
    }

    /// The node that it is bound to.
    pub(super) fn node(&self) -> &str {
        self.pod.spec.node_name.as_deref().unwrap_or_default()
    }
}

impl Meant {
    /// The policies themselves, out of those that it was found out with.
    pub(super) fn selected<'a>(
        &'a self,
        policies: &'a PolicySet,
    ) -> Vec<(&'a str, &'a WorkloadPolicy)> {
        let named = self.policies.iter();
        let named = named.filter_map(|name| policies.workloads.get_key_value(name));
        named
            .map(|(name, policy)| (name.as_str(), policy))
            .collect()
    }
}

/// What policy looks at in a pod; `None`: none of `policies` is for it.
pub(super) fn meant(policies: &PolicySet, pod: &Pod) -> Option<Meant> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if !concerns_namespace(policies, namespace) {
        return None;
    }
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let facts = PodFacts {
        workload: workload::of_held(&pod.metadata),
        ..pod::facts(namespace, &labels, &pod.spec)
    };
    let selected = policies_for(policies, &facts).into_iter();
    let policies: Vec<String> = selected.map(|(name, _)| name.to_owned()).collect();
    (!policies.is_empty()).then(|| Meant {
        differing: differing(pod, &facts),
        facts,
        policies,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    fn policies(label: &str) -> Arc<PolicySet> {
        let text = format!(
            "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: payments}}\n\
             spec: {{pod: {{namespaces: [a], labels: {{app: {label}}}}}, host: {{tier: affirming}}}}\n"
        );
        Arc::new(PolicySet::parse(&text).unwrap())
    }

    fn pod(version: &str, app: &str) -> Arc<Pod> {
        let pod = json!({
            "metadata": {
                "name": "api", "namespace": "a", "uid": "u", "resourceVersion": version,
                "labels": { "app": app },
            },
            "spec": { "containers": [{ "name": "c", "image": "r.example/a:1" }] },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_is_looked_at_anew_when_it_or_the_policies_changed_and_else_not() {
        let mut pods = Pods::default();
        let (api, other) = (policies("api"), policies("other"));
        let mut look = |policies: &Arc<PolicySet>, pod: Arc<Pod>| {
            let looked = pods.look(Arc::clone(policies), vec![pod], Vec::new());
            Arc::clone(&looked.bound[0])
        };
        let is_meant = |known: &Known| known.meant.is_some();
        let first = look(&api, pod("1", "api"));
        assert_eq!(first.meant.as_ref().unwrap().policies, ["payments"]);
        let listed_anew = look(&api, pod("1", "api"));
        assert!(Arc::ptr_eq(&first, &listed_anew));
        assert!(!is_meant(&look(&api, pod("2", "other"))));
        assert!(is_meant(&look(&api, pod("3", "api"))));
        assert!(!is_meant(&look(&other, pod("3", "api"))));
        assert!(is_meant(&look(&other, pod("4", "other"))));
        let looked = pods.look(other, Vec::new(), Vec::new());
        assert!(looked.bound.is_empty() && pods.known.is_empty());
    }
}
