//! A decision about a pod, and its entry.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_policies::admit::{Admission, Behind, PodFacts, Workload, admit_each, admit_images};
use touchstone_policies::manifest::PolicySet;
use touchstone_policies::prose;

use super::asked::Asked;
use super::pull_secrets::PullSecrets;
use super::review::{Request, Response};
use crate::appraisal::RoundError;
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::refusals::RefusalKind;
use crate::trust_index::OnNode;
use crate::workloads::First;

/// Most manifests that an entry names.
const IMAGES_MAX: usize = 64;

/// What was decided, and what it rests on.
pub(super) struct Decision {
    admission: Admission,
    policy_digest: Sha256Digest,
    /// The node that it is about; `None`: the pod has none yet.
    node: Option<String>,
    host: Option<HostId>,
    result_entry: Option<Sha256Digest>,
    /// Manifests that the pod asks for.
    images: Vec<OciDigest>,
    /// Whose pod it is.
    workload: Option<Workload>,
    /// What is to be recorded of its workload if it is the first pod of it.
    first: Option<First>,
    now: i64,
}

impl Decision {
    /// Whether a pod may run on `node`, with each set of facts that it was seen with: a review tells what is asked, not
    /// what came of it, and an update may have been refused elsewhere.
    pub(super) fn on_node(
        policies: &PolicySet,
        pods: &[PodFacts],
        node: &str,
        on: Option<OnNode>,
    ) -> Self {
        let now = clock::now();
        let standing = on.as_ref().and_then(OnNode::standing);
        let behind = match on {
            Some(_) => Behind::Host(standing.as_ref()),
            None => Behind::Nobody(node),
        };
        Self {
            admission: admit_each(policies, pods, behind, now),
            policy_digest: policies.digest,
            node: Some(node.to_owned()),
            result_entry: on.as_ref().and_then(|on| Some(on.held.as_ref()?.entry)),
            host: on.map(|on| on.host),
            images: digests(pods),
            workload: pods.first().and_then(|pod| pod.workload.clone()),
            first: None,
            now,
        }
    }

    /// Whether a pod may wait for a node: what its images say against it, no node mends.
    pub(super) fn without_node(policies: &PolicySet, [pod]: &[PodFacts; 1]) -> Self {
        Self {
            admission: admit_images(policies, pod),
            policy_digest: policies.digest,
            node: None,
            host: None,
            result_entry: None,
            images: digests(std::slice::from_ref(pod)),
            workload: pod.workload.clone(),
            first: None,
            now: clock::now(),
        }
    }

    /// What the host behind `node` has no part in; `None`: the pod has no node yet.
    pub(super) fn without_host(
        attestor: &Attestor,
        policies: &PolicySet,
        admission: Admission,
        pod: &PodFacts,
        node: Option<&str>,
    ) -> Self {
        Self {
            admission,
            policy_digest: policies.digest,
            node: node.map(str::to_owned),
            host: node.and_then(|node| attestor.index.host_of(node)),
            result_entry: None,
            images: digests(std::slice::from_ref(pod)),
            workload: pod.workload.clone(),
            first: None,
            now: clock::now(),
        }
    }

    pub(super) fn admitted(&self) -> bool {
        self.admission.admitted()
    }

    /// Refuses for these reasons, too.
    pub(super) fn refuse_for(&mut self, reasons: impl IntoIterator<Item = Finding>) {
        self.admission.refuse(reasons);
    }

    /// Says that pull secrets were not read, where that may be why.
    pub(super) fn explain(&mut self, secrets: &PullSecrets) {
        let unread = secrets.unread(self.admission.refusals());
        self.admission.refuse(unread);
    }

    /// Has it recorded what its workload is made of, if it is admitted and the first of it.
    pub(super) fn record_first(&mut self, first: Option<First>) {
        self.first = first;
    }

    /// The answer. A decision that a policy is for is an entry before it is answered, unless it is a dry run; refusals that
    /// come too often in a namespace are counted.
    pub(super) async fn answer(
        &mut self,
        attestor: &Attestor,
        request: &Request,
        caller: &Actor,
        asked: &Asked,
    ) -> Result<Response, RoundError> {
        if self.admission.policies().is_empty() && self.admitted() {
            return Ok(Response::allowed(request, None));
        }
        let is_written = !request.dry_run
            && (self.admitted()
                || attestor
                    .folded
                    .is_whole(&request.namespace, &self.kind(request)));
        let entry = match is_written {
            true => Some(self.record(attestor, request, caller, asked).await?),
            false => None,
        };
        if self.admitted() {
            return Ok(Response::allowed(request, entry));
        }
        let why = format!(
            "touchstone: {} (policy {}) ({})",
            prose::summary(self.admission.refusals()),
            self.admission.policies().join(", "),
            codes(self.admission.refusals()),
        );
        Ok(Response::refused(request, &why, entry))
    }

    /// What it is counted with, where it is a refusal.
    fn kind(&self, request: &Request) -> RefusalKind {
        let refusals = self.admission.refusals().iter();
        RefusalKind {
            operation: format!("{} {}", request.operation, request.resource_name()),
            policies: self.admission.policies().to_vec(),
            refusals: refusals.map(|finding| finding.code.clone()).collect(),
        }
    }

    /// Writes it down and returns the leaf hash of its entry.
    async fn record(
        &mut self,
        attestor: &Attestor,
        request: &Request,
        caller: &Actor,
        asked: &Asked,
    ) -> Result<Sha256Digest, RoundError> {
        let entry = |this: &Self, recorded| {
            let event = this.event(attestor, request, asked, recorded);
            Entry::new(&event, caller, this.now)
        };
        let (workloads, now) = (&attestor.workloads, self.now);
        let first = self.first.take().filter(|_| self.admitted());
        let Some(first) = first else {
            return commit(attestor, entry(self, false)?).await;
        };
        if first.workload.is_alone() {
            // Its record is written behind and may be lost: the entry promises none, and what it admits is admitted.
            let leaf = commit(attestor, entry(self, false)?).await?;
            workloads.note(&first, leaf, now).await;
            return Ok(leaf);
        }
        let record = match workloads.of(&first.namespace, &first.workload).await? {
            None => {
                let begun = entry(self, true)?;
                match workloads.begin(&first, &begun, now).await? {
                    None => return Ok(begun.leaf()),
                    others => others,
                }
            }
            others => others,
        };
        // Another pod may have been the first since this one was judged.
        if let Some(record) = record {
            self.refuse_for(record.changes(&first));
        }
        commit(attestor, entry(self, false)?).await
    }

    fn event(
        &self,
        attestor: &Attestor,
        request: &Request,
        asked: &Asked,
        recorded: bool,
    ) -> Event {
        let kind = self.kind(request);
        Event::AdmissionDecided {
            cluster: attestor.cluster.clone(),
            review: request.uid.clone(),
            operation: kind.operation,
            namespace: request.namespace.clone(),
            pod: asked.name.clone(),
            pod_uid: asked.uid.clone(),
            node: self.node.clone(),
            host: self.host.clone(),
            policies: kind.policies,
            policy_digest: self.policy_digest,
            admitted: self.admitted(),
            refusals: kind.refusals,
            result_entry: self.result_entry,
            images: self.images.clone(),
            workload: self.workload.clone(),
            recorded,
        }
    }
}

async fn commit(attestor: &Attestor, entry: Entry) -> Result<Sha256Digest, RoundError> {
    let leaf = entry.leaf();
    attestor.commits.entry(entry).await?;
    Ok(leaf)
}

/// What docs/findings.md has them under, each once.
fn codes(refusals: &[Finding]) -> String {
    let mut codes: Vec<String> = Vec::new();
    for refusal in refusals {
        let code = format!("`{}`", refusal.code);
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes.join(", ")
}

/// Each once, in order.
fn digests(pods: &[PodFacts]) -> Vec<OciDigest> {
    let images = pods.iter().flat_map(|pod| &pod.images);
    let mut digests: Vec<OciDigest> = images.filter_map(|image| image.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    if digests.len() > IMAGES_MAX {
        let (namespace, count) = (pods.first().map(|pod| &*pod.namespace), digests.len());
        tracing::warn!(
            k8s.namespace = namespace,
            "of the {count} images of a pod its entry names {IMAGES_MAX}"
        );
        digests.truncate(IMAGES_MAX);
    }
    digests
}
