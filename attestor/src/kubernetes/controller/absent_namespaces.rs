//! Namespaces that policies are for and the cluster does not have: misspelt, perhaps, and then no pod is guarded by them.
//!
//! Each is asked for once under the policies in force. What is made or taken away later, reviews go by as it is then.

use std::collections::BTreeSet;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_policies::manifest::PolicySet;

/// Namespaces that are asked for in one round; the others wait for the next.
const AT_ONCE: usize = 16;

/// What is still to be asked for.
#[derive(Default)]
pub(super) struct AbsentNamespaces {
    /// Under which policies.
    asked_for: Option<Sha256Digest>,
    left: BTreeSet<String>,
}

impl AbsentNamespaces {
    /// Asks for some, and tells of those that are not there.
    pub(super) async fn round(&mut self, policies: &PolicySet, cluster: &Cluster) {
        for namespace in self.next(policies) {
            match cluster.has_namespace(&namespace).await {
                Ok(true) => {}
                Ok(false) => tracing::warn!(
                    k8s.namespace = namespace,
                    policies = policies_for(policies, &namespace).join(", "),
                    "policies are for a namespace that the cluster does not have; is it misspelt?"
                ),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "whether a namespace is there is not known");
                    return;
                }
            }
            self.left.remove(&namespace);
        }
    }

    fn next(&mut self, policies: &PolicySet) -> Vec<String> {
        if self.asked_for != Some(policies.digest) {
            self.asked_for = Some(policies.digest);
            let all = policies.workloads.values();
            self.left = all
                .flat_map(|policy| policy.pod.namespaces.iter().cloned())
                .collect();
        }
        self.left.iter().take(AT_ONCE).cloned().collect()
    }
}

fn policies_for<'a>(policies: &'a PolicySet, namespace: &str) -> Vec<&'a str> {
    let mut all = policies.workloads.iter().collect::<Vec<_>>();
    all.retain(|(_, policy)| policy.pod.namespaces.iter().any(|name| name == namespace));
    all.into_iter().map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn policies(namespaces: &[String]) -> PolicySet {
        let names = namespaces.join(", ");
        let text = format!(
            "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {{name: p}}\nspec:\n  pod: {{namespaces: [{names}]}}\n  \
             host: {{tier: affirming}}\n"
        );
        PolicySet::parse(&text).unwrap()
    }

    #[test]
    fn each_namespace_is_asked_for_once_under_each_version() {
        let names: Vec<String> = (10..30).map(|number| format!("n{number}")).collect();
        let one = policies(&names);
        let mut absent = AbsentNamespaces::default();
        let first = absent.next(&one);
        assert_eq!(first, names[..AT_ONCE]);
        // What was not answered is asked for again.
        assert_eq!(absent.next(&one), first);
        absent.left.retain(|name| !first.contains(name));
        assert_eq!(absent.next(&one), names[AT_ONCE..]);
        absent.left.clear();
        assert!(absent.next(&one).is_empty());
        let two = policies(&names[..1]);
        assert_eq!(absent.next(&two), names[..1]);
        assert_eq!(policies_for(&two, &names[0]), ["p"]);
        assert!(policies_for(&two, "other").is_empty());
    }
}
