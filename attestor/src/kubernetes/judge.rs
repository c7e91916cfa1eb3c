//! What is decided of a pod, and by which of its faces: as it comes, as it waits, as it is bound, as it changes.

use std::sync::Arc;

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_policies::admit::workload::changed;
use touchstone_policies::admit::{Admission, PodFacts, Update, bound_with, mirror, update};
use touchstone_policies::manifest::PolicySet;

use super::Webhook;
use super::asked::{Asked, What};
use super::decision::Decision;
use super::lookup;
use super::pod_memory::Recalled;
use super::pull_secrets::PullSecrets;
use super::review::Request;
use super::workload::{self, recorded};
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
        let opens = asked.opens.as_ref();
        if let Some((refused, pod)) = opens.and_then(|opens| opens.refusal(self.policies)) {
            return Ok(self.whichever_host(refused, pod, asked.what.node()));
        }
        match &asked.what {
            What::Created(pod) | What::Updated(pod) => self.waiting(asked, pod).await,
            What::CreatedOn(pod, node) => self.on_node(vec![pod.clone()], None, node).await,
            What::UpdatedOn {
                before,
                after,
                node,
            } => match update(self.policies, before.as_deref(), after) {
                Update::Nothing => Ok(Judged::Unconcerned),
                Update::Leaves(refused) => Ok(self.whichever_host(refused, after, Some(node))),
                Update::Becomes(pod) => self.on_node(vec![*pod], before.as_deref(), node).await,
            },
            What::Bound(node, labels) => match self.to_be_bound(asked).await {
                Ok(pods) => match bound_with(self.policies, pods, labels) {
                    Ok(pods) => self.on_node(pods, None, node).await,
                    Err(leaving) => {
                        let (refused, pod) = *leaving;
                        Ok(self.whichever_host(refused, &pod, Some(node)))
                    }
                },
                Err(finding) => Ok(Judged::Unanswerable(finding)),
            },
            What::Static(pod, node) => {
                let admission = mirror(self.policies, pod, node);
                Ok(self.whichever_host(admission, pod, Some(node)))
            }
        }
    }

    fn whichever_host(&self, admission: Admission, pod: &PodFacts, node: Option<&str>) -> Judged {
        let decision = Decision::without_host(self.attestor, self.policies, admission, pod, node);
        Judged::Decided(Box::new(decision))
    }

    /// A pod that waits for a node: it is remembered as it is now, and its binding will be judged.
    async fn waiting(&self, asked: &Asked, pod: &PodFacts) -> Result<Judged, RoundError> {
        let Some(uid) = &asked.uid else {
            let finding = Finding::new("review-without-uid");
            return Ok(Judged::Unanswerable(finding));
        };
        let mut learned = [pod.clone()];
        let (secrets, too_many) = self.learn(&mut learned).await?;
        let mut decision = Decision::without_node(self.policies, &learned);
        decision.refuse_for(too_many);
        let records = self.records(self.policies, &learned).await?;
        let recorded = recorded(&records);
        decision.refuse_for(changed(self.policies, &learned, None, &recorded));
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
        // Registries may take their time: what holds after that is what counts.
        let (secrets, too_many) = self.learn(&mut pods).await?;
        let records = self.records(&self.attestor.index.policies(), &pods).await?;
        let recorded = recorded(&records);
        let host = match lookup::host(self.attestor, self.cluster(), node).await {
            Ok(host) => host,
            Err(finding) => return Ok(Judged::Unanswerable(finding)),
        };
        // Nothing is waited for from here on: as the host stands now, the pod is admitted.
        let index = &self.attestor.index;
        let policies = index.policies();
        if !index.is_confirmed() {
            let finding = Finding::new("standing-unconfirmed");
            return Ok(Judged::Unanswerable(finding));
        }
        let mut decision = Decision::on_node(&policies, &pods, node, host);
        decision.refuse_for(too_many);
        decision.refuse_for(changed(&policies, &pods, before, &recorded));
        decision.refuse_for(self.unlike_running(&policies, &pods, &recorded));
        decision.explain(&secrets);
        if self.request.operation == "CREATE" {
            decision.record_first(workload::first(&policies, &self.webhook.images, &pods));
        }
        Ok(Judged::Decided(Box::new(decision)))
    }

    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.webhook.cluster.as_deref()
    }

    /// The pod that is bound, with everything that it may be.
    async fn to_be_bound(&self, asked: &Asked) -> Result<Vec<PodFacts>, Finding> {
        let Some(uid) = &asked.uid else {
            return Err(Finding::new("pod-unknown"));
        };
        let names = (&*self.request.namespace, &*asked.name, &**uid);
        lookup::pods(self.cluster(), self.recall(names)?, names).await
    }

    /// Everything that the pod was seen with here, if it was. It goes on waiting if this is refused.
    fn recall(&self, (namespace, name, uid): (&str, &str, &str)) -> Result<Vec<PodFacts>, Finding> {
        let memory = &self.webhook.pods;
        let pods = match memory.recall(uid, namespace, name) {
            Recalled::Seen(pods) => pods,
            Recalled::Nothing => Vec::new(),
            // What the cluster says it is now is not all that it may be by the time that it is bound.
            Recalled::TooMuch => return Err(Finding::new("pod-changed-too-often")),
        };
        for pod in pods.iter().filter(|_| !self.request.dry_run) {
            memory.remember(uid.to_owned(), namespace, name, pod.clone());
        }
        Ok(pods)
    }

    /// Learns what policies want to know of the images of `pods`; the secrets that their registries could be shown, and why
    /// nothing was learned, where they are too many.
    async fn learn(
        &self,
        pods: &mut [PodFacts],
    ) -> Result<(Arc<PullSecrets>, Option<Finding>), StoreError> {
        let secrets = Arc::new(PullSecrets::of(self.webhook.cluster.as_ref(), pods));
        let (store, images) = (&self.attestor.store, &self.webhook.images);
        let too_many = images.learn(store, self.policies, pods, &secrets).await?;
        Ok((secrets, too_many))
    }
}
