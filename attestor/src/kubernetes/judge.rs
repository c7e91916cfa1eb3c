//! What is decided of a pod, and by which of its faces: as it comes, as it waits, as it is bound, as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_policies::admit::{PodFacts, selecting};
use touchstone_policies::manifest::PolicySet;

use super::Webhook;
use super::asked::{Asked, What};
use super::decision::Decision;
use super::lookup;
use super::pod_memory::Recalled;
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
                Changed::Nothing => Ok(Judged::Unconcerned),
                Changed::Leaves(left) => {
                    let decision =
                        Decision::of_leaving(self.attestor, self.policies, left, after, node);
                    Ok(Judged::Decided(Box::new(decision)))
                }
                Changed::Becomes => {
                    let pods = vec![stays(before.as_deref(), after)];
                    self.on_node(pods, before.as_deref(), node).await
                }
            },
            What::Bound(node, labels) => match self.to_be_bound(asked).await {
                Ok(pods) => match relabelled(self.policies, pods, labels) {
                    Ok(pods) => self.on_node(pods, None, node).await,
                    Err((left, pod)) => {
                        let decision =
                            Decision::of_leaving(self.attestor, self.policies, left, &pod, node);
                        Ok(Judged::Decided(Box::new(decision)))
                    }
                },
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
        let (secrets, too_many) = self.learn(&mut learned).await?;
        let mut decision = Decision::without_node(self.policies, &learned);
        decision.refuse_for(Vec::from_iter(too_many));
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
        // Registries may take their time: what holds after that is what counts.
        let (secrets, too_many) = self.learn(&mut pods).await?;
        let changes = self.changes(&pods, before).await?;
        let host = match lookup::host(self.attestor, self.cluster(), node).await {
            Ok(host) => host,
            Err(finding) => return Ok(Judged::Unanswerable(finding)),
        };
        let index = &self.attestor.index;
        if !index.is_confirmed() {
            let finding = Finding::new("standing-unconfirmed");
            return Ok(Judged::Unanswerable(finding));
        }
        let policies = index.policies();
        let mut decision = Decision::on_node(&policies, &pods, node, host);
        decision.refuse_for(Vec::from_iter(too_many));
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

/// What an update makes of a pod on a node.
#[derive(Debug, Eq, PartialEq)]
enum Changed {
    /// Nothing that matters.
    Nothing,
    /// Policies that were for it are so no more.
    Leaves(Vec<String>),
    /// It is to be judged as what it becomes.
    Becomes,
}

/// What becomes of a pod on a node that is `after` from now on. It stays under the policies that were for it: the host was
/// chosen by them, what the pod opened there stays open, and no other look finds out what it was.
fn changed(policies: &PolicySet, before: Option<&PodFacts>, after: &PodFacts) -> Changed {
    let Some(before) = before else {
        return Changed::Becomes;
    };
    let names = |pod| -> Vec<&str> { selecting(policies, pod).map(|(name, _)| name).collect() };
    let (was_for, is_for) = (names(before), names(after));
    let left = was_for.iter().filter(|name| !is_for.contains(name));
    let left: Vec<String> = left.map(|name| (*name).to_owned()).collect();
    if !left.is_empty() {
        return Changed::Leaves(left);
    }
    // Labels come and go on a pod whose host has fallen, too: only a policy that was not for it before judges it.
    match before.images == after.images && is_for.len() == was_for.len() {
        true => Changed::Nothing,
        false => Changed::Becomes,
    }
}

/// Everything that a pod may be once it is bound with these labels, beside what it is on servers that do not look at them.
/// An error names the policies that it would leave by them, and the pod that does.
fn relabelled(
    policies: &PolicySet,
    mut pods: Vec<PodFacts>,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<PodFacts>, (Vec<String>, Box<PodFacts>)> {
    for before in pods.clone() {
        let mut after = before.clone();
        after.labels.extend(labels.clone());
        if let Changed::Leaves(left) = changed(policies, Some(&before), &after) {
            return Err((left, Box::new(after)));
        }
        if !pods.contains(&after) {
            pods.push(after);
        }
    }
    Ok(pods)
}

/// The pod as it becomes: labels and owners may change with it, and it stays of the workload that it was made for.
fn stays(before: Option<&PodFacts>, after: &PodFacts) -> PodFacts {
    let workload = before.map_or(&after.workload, |before| &before.workload);
    PodFacts {
        workload: workload.clone(),
        ..after.clone()
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
        assert_eq!(changed(&x, &x), Changed::Nothing);
        assert_eq!(changed(&y, &pod("z", "1")), Changed::Nothing);
        assert_eq!(changed(&y, &x), Changed::Becomes);
        assert_eq!(changed(&x, &pod("x", "2")), Changed::Becomes);
        assert_eq!(super::changed(&policies, None, &y), Changed::Becomes);
        // Whatever else comes with it.
        let left = Changed::Leaves(vec!["w".to_owned()]);
        assert_eq!(changed(&x, &y), left);
        assert_eq!(changed(&x, &pod("y", "2")), left);
    }

    #[test]
    fn a_binding_s_labels_are_laid_over_everything_that_the_pod_may_be() {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [a], labels: {app: x}}, host: {tier: affirming}}\n";
        let policies = PolicySet::parse(manifest).unwrap();
        let (x, y) = (pod("x", "1"), pod("y", "1"));
        let bound = |pods: &[&PodFacts], labels: &[(&str, &str)]| {
            let pods = pods.iter().copied().cloned().collect();
            let labels = labels.iter();
            let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let found = relabelled(&policies, pods, &labels.collect());
            found.map_err(|(left, _)| left)
        };
        assert_eq!(bound(&[&y], &[]), Ok(vec![y.clone()]));
        assert_eq!(
            bound(&[&y], &[("app", "x")]),
            Ok(vec![y.clone(), x.clone()])
        );
        let left = bound(&[&y, &x], &[("app", "y")]);
        assert_eq!(left, Err(vec!["w".to_owned()]));
        // As newer servers do it themselves.
        let zone = bound(&[&x], &[("topology.kubernetes.io/zone", "z")]).unwrap();
        assert_eq!((zone.len(), zone[1].labels.len()), (2, 2));
    }
}
