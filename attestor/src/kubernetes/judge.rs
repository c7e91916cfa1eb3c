//! What is decided of a pod, and by which of its faces: as it comes, as it waits, as it is bound, as it changes.

use std::sync::Arc;

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_policies::admit::{PodFacts, selecting};
use touchstone_policies::manifest::PolicySet;

use super::Webhook;
use super::asked::{Asked, What};
use super::decision::Decision;
use super::lookup;
use super::pull_secrets::PullSecrets;
use super::review::Request;
use super::workload;
use crate::appraisal::RoundError;
use crate::attestor::Attestor;
use crate::store::StoreError;

/// Who judges one review.
pub(super) struct Judge<'a> {
    pub(super) attestor: &'a Attestor,
    pub(super) webhook: &'a Webhook,
    pub(super) request: &'a Request,
    pub(super) policies: &'a PolicySet,
}

pub(super) enum Judged {
    /// It is allowed, and nobody writes it down.
    Unconcerned,
    Decided(Box<Decision>),
    /// It cannot be judged.
    Unanswerable(Finding),
}

impl Judge<'_> {
    /// Judges what is asked, and remembers pods that wait for a node.
    pub(super) async fn judge(&self, asked: &Asked) -> Result<Judged, RoundError> {
        match &asked.what {
            What::Created(pod) | What::Updated(pod) => self.waiting(asked, pod).await,
            What::CreatedOn(pod, node) => self.on_node(vec![pod.clone()], None, node).await,
            What::UpdatedOn {
                before,
                after,
                node,
            } => match changed(self.policies, before.as_deref(), after) {
                pods if pods.is_empty() => Ok(Judged::Unconcerned),
                pods => self.on_node(pods, before.as_deref(), node).await,
            },
            What::Bound(node) => match self.to_be_bound(asked).await {
                Ok(pods) => self.on_node(pods, None, node).await,
                Err(finding) => Ok(Judged::Unanswerable(finding)),
            },
            What::Static(pod, node) => {
                let decision = Decision::of_static(self.attestor, self.policies, pod, node);
                Ok(Judged::Decided(Box::new(decision)))
            }
        }
    }

    /// A pod that waits for a node: it is remembered as it is now, and its binding will be judged.
    async fn waiting(&self, asked: &Asked, pod: &PodFacts) -> Result<Judged, RoundError> {
        let Some(uid) = &asked.uid else {
            let finding = Finding::new("review-without-uid");
            return Ok(Judged::Unanswerable(finding));
        };
        let mut learned = [pod.clone()];
        let secrets = self.learn(&mut learned).await?;
        let mut decision = Decision::without_node(self.policies, &learned);
        decision.refuse_for(self.changes(&learned, None).await?);
        decision.explain(&secrets);
        if !decision.admitted() {
            return Ok(Judged::Decided(Box::new(decision)));
        }
        let pods = &self.webhook.pods;
        match &asked.what {
            _ if self.request.dry_run => {}
            What::Updated(_) => pods.add(uid, pod.clone()),
            _ => {
                let namespace = &self.request.namespace;
                pods.remember(uid.clone(), namespace, &asked.name, pod.clone());
            }
        }
        Ok(Judged::Unconcerned)
    }

    async fn on_node(
        &self,
        mut pods: Vec<PodFacts>,
        before: Option<&PodFacts>,
        node: &str,
    ) -> Result<Judged, RoundError> {
        let host = match lookup::host(self.attestor, self.cluster(), node).await {
            Ok(host) => host,
            Err(finding) => return Ok(Judged::Unanswerable(finding)),
        };
        let secrets = self.learn(&mut pods).await?;
        let changes = self.changes(&pods, before).await?;
        // Registries may have taken their time: what holds by now is what counts.
        let index = &self.attestor.index;
        if !index.is_confirmed() {
            let finding = Finding::new("standing-unconfirmed");
            return Ok(Judged::Unanswerable(finding));
        }
        let policies = index.policies();
        let mut decision = Decision::on_node(self.attestor, &policies, &pods, node, host);
        decision.refuse_for(changes);
        decision.explain(&secrets);
        if self.request.operation == "CREATE" {
            decision.record_first(workload::first(&policies, &self.webhook.images, &pods));
        }
        Ok(Judged::Decided(Box::new(decision)))
    }

    fn cluster(&self) -> Option<&Cluster> {
        self.webhook.cluster.as_deref()
    }

    /// The pod that is bound, with everything that it may be.
    async fn to_be_bound(&self, asked: &Asked) -> Result<Vec<PodFacts>, Finding> {
        let Some(uid) = &asked.uid else {
            return Err(Finding::new("pod-unknown"));
        };
        let names = (&*self.request.namespace, &*asked.name, &**uid);
        lookup::pods(self.cluster(), self.recall(asked), names).await
    }

    /// The pod that is bound, with everything that it was seen with. It goes on waiting if this is refused.
    fn recall(&self, asked: &Asked) -> Option<Vec<PodFacts>> {
        let uid = asked.uid.as_deref()?;
        let (memory, namespace) = (&self.webhook.pods, &self.request.namespace);
        let pods = memory.recall(uid, namespace, &asked.name)?;
        for pod in pods.iter().filter(|_| !self.request.dry_run) {
            memory.remember(uid.to_owned(), namespace, &asked.name, pod.clone());
        }
        Some(pods)
    }

    /// Learns what policies want to know of the images of `pods`; the secrets that their registries could be shown.
    async fn learn(&self, pods: &mut [PodFacts]) -> Result<Arc<PullSecrets>, StoreError> {
        let secrets = Arc::new(PullSecrets::of(self.webhook.cluster.as_ref(), pods));
        let (store, images) = (&self.attestor.store, &self.webhook.images);
        images.learn(store, self.policies, pods, &secrets).await?;
        Ok(secrets)
    }
}

/// What is to be judged of a pod on a node that becomes `after`; empty: nothing that matters changes. It stays under
/// the policies that were for it and of its workload, whatever labels it gets together with another image.
fn changed(policies: &PolicySet, before: Option<&PodFacts>, after: &PodFacts) -> Vec<PodFacts> {
    let Some(before) = before else {
        return vec![after.clone()];
    };
    if before.images != after.images {
        let relabelled = PodFacts {
            labels: before.labels.clone(),
            workload: before.workload.clone(),
            ..after.clone()
        };
        return match relabelled == *after {
            true => vec![relabelled],
            false => vec![relabelled, after.clone()],
        };
    }
    // Labels come and go on a pod whose host has fallen, too: only a policy that was not for it before judges it.
    let before: Vec<&str> = selecting(policies, before).map(|(name, _)| name).collect();
    let mut selecting = selecting(policies, after);
    match selecting.all(|(name, _)| before.contains(&name)) {
        true => Vec::new(),
        false => vec![after.clone()],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use touchstone_policies::admit::{ImageFacts, ImageUse};

    use super::*;

    fn pod(app: &str, image: &str) -> PodFacts {
        PodFacts {
            namespace: "a".to_owned(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            service_account: "default".to_owned(),
            images: vec![ImageFacts {
                container: "c".to_owned(),
                used: ImageUse::Ordinary,
                reference: image.to_owned(),
                name: None,
                digest: None,
                encrypted: None,
                registered: None,
                signers: None,
            }],
            workload: None,
            pull_secrets: Vec::new(),
        }
    }

    #[test]
    fn a_pod_on_a_node_is_judged_again_where_its_images_change_or_a_policy_comes_to_be_for_it() {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [a], labels: {app: x}}, host: {tier: affirming}}\n";
        let policies = PolicySet::parse(manifest).unwrap();
        let changed = |before: &PodFacts, after: &PodFacts| changed(&policies, Some(before), after);
        let (x, y) = (pod("x", "1"), pod("y", "1"));
        assert!(changed(&x, &x).is_empty() && changed(&x, &y).is_empty());
        assert_eq!(changed(&y, &x), std::slice::from_ref(&x));
        assert_eq!(changed(&x, &pod("x", "2")), [pod("x", "2")]);
        // Another label with another image: it stays under its policy.
        assert_eq!(changed(&x, &pod("y", "2")), [pod("x", "2"), pod("y", "2")]);
        assert_eq!(super::changed(&policies, None, &y), [y]);
    }
}
