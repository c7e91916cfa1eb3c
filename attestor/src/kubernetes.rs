//! The Kubernetes seam: validating admission of pods and of their bindings to nodes (docs/operators.md).
//!
//! Only here are there nodes, pods and reviews. A binding review carries no pod spec, so a pod is
//! remembered from its CREATE review; a binding whose pod is not remembered is refused.

pub(crate) mod controller;
pub(crate) mod extender;
pub(crate) mod mutate;
mod pod_memory;
pub(crate) mod resolve;
pub(crate) mod review;
mod tolerations;

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::host_id::HostId;
use touchstone_policies::admit::{Admission, PodFacts, admit_each, concerns_namespace};
use touchstone_policies::prose;

pub(crate) use pod_memory::PodMemory;
use review::{Object, Request, Response};

use crate::appraisal::RoundError;
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;

/// What is asked, once the review is understood.
enum Question {
    /// A pod that waits for a node: remembered as it is now; its binding will be judged.
    Waiting { uid: String, pod: PodFacts },
    /// It may have other labels from now on.
    Updated { uid: String, pod: PodFacts },
    /// No policy can be for it.
    Unconcerned,
    /// A pod on a node: a binding, or a pod created with `nodeName` set; with every set of labels that it may have.
    Placed {
        uid: Option<String>,
        pods: Vec<PodFacts>,
        node: String,
    },
    /// It cannot be judged.
    Unanswerable(Finding),
}

/// Answers one review. An error means that nothing was decided: the caller must refuse.
pub(crate) async fn answer(
    attestor: &Attestor,
    memory: &PodMemory,
    request: &Request,
    caller: &Actor,
) -> Result<Response, RoundError> {
    // Nothing that is held may be as it is, the policies neither: they might be for any pod by now.
    if request.asks_about_pods() && !attestor.index.is_confirmed() {
        let finding = Finding::new("standing-unconfirmed");
        attestor.note_refusal(&finding.code).await;
        return Ok(Response::refused(request, &prose::sentence(&finding), None));
    }
    // No policy names the namespace: nothing about the pod could make it our concern, and a pod that
    // we do not remember must not wait for us.
    let policies = attestor.index.policies();
    if request.asks_about_pods() && !concerns_namespace(&policies, &request.namespace) {
        return Ok(Response::allowed(request, None));
    }
    if let Some(object) = &request.object {
        let pod = facts(&request.namespace, object);
        if let Some(finding) = tolerations::refusal(&policies, &pod, request) {
            attestor.note_refusal(&finding.code).await;
            return Ok(Response::refused(request, &prose::sentence(&finding), None));
        }
    }
    match question(request, memory) {
        Question::Unconcerned => Ok(Response::allowed(request, None)),
        Question::Waiting { uid, pod } => {
            if !request.dry_run {
                memory.remember(uid, &request.namespace, request.pod_name(), pod);
            }
            Ok(Response::allowed(request, None))
        }
        Question::Updated { uid, pod } => {
            if !request.dry_run {
                memory.add(&uid, pod);
            }
            Ok(Response::allowed(request, None))
        }
        Question::Placed { uid, pods, node } => {
            let response = place(attestor, request, caller, uid.clone(), &pods, &node).await?;
            if let (Some(uid), false) = (uid, request.dry_run) {
                for pod in pods {
                    memory.remember(uid.clone(), &request.namespace, request.pod_name(), pod);
                }
            }
            Ok(response)
        }
        Question::Unanswerable(finding) => {
            attestor.note_refusal(&finding.code).await;
            Ok(Response::refused(request, &prose::sentence(&finding), None))
        }
    }
}

fn question(request: &Request, memory: &PodMemory) -> Question {
    let unsupported = || {
        Question::Unanswerable(Finding::new("review-unsupported").observed(format_args!(
            "{} of {}",
            request.operation,
            request.resource_name()
        )))
    };
    let Some(object) = &request.object else {
        return Question::Unanswerable(Finding::new("review-without-object"));
    };
    let uid = object.metadata.uid.clone().filter(|uid| !uid.is_empty());
    match (request.operation.as_str(), request.resource_name().as_str()) {
        ("CREATE" | "UPDATE", "pods") => {
            let pod = facts(&request.namespace, object);
            let node = object.spec.as_ref().and_then(|spec| spec.node_name.clone());
            let node = node.filter(|node| !node.is_empty());
            match (request.operation.as_str(), node, uid) {
                // It was judged when it was placed; what happens to it then is not judged yet.
                ("UPDATE", Some(_), _) => Question::Unconcerned,
                (_, Some(node), uid) => Question::Placed {
                    uid,
                    pods: vec![pod],
                    node,
                },
                ("UPDATE", None, Some(uid)) => Question::Updated { uid, pod },
                (_, None, Some(uid)) => Question::Waiting { uid, pod },
                (_, None, None) => Question::Unanswerable(Finding::new("review-without-uid")),
            }
        }
        ("CREATE", "pods/binding" | "bindings") => {
            let node = object.target.as_ref().map(|target| target.name.clone());
            let pods = uid
                .as_deref()
                .and_then(|uid| memory.recall(uid, &request.namespace, request.pod_name()));
            match (pods, node) {
                (Some(pods), Some(node)) => Question::Placed { uid, pods, node },
                (None, _) => Question::Unanswerable(Finding::new("pod-unknown")),
                (_, None) => Question::Unanswerable(Finding::new("review-without-object")),
            }
        }
        _ => unsupported(),
    }
}

/// What policy looks at in a pod.
fn facts(namespace: &str, pod: &Object) -> PodFacts {
    PodFacts {
        namespace: namespace.to_owned(),
        labels: pod.metadata.labels.clone(),
    }
}

/// Why nothing of a policy runs on a node that no host stands behind.
fn unmapped(node: &str) -> Finding {
    Finding::new("node-unmapped").about(node)
}

/// Judges a pod on a node, with each set of labels that it was seen with: a review tells what is asked, not what came
/// of it, and an update may have been refused elsewhere. A decision that a policy is for becomes an entry before it is answered.
async fn place(
    attestor: &Attestor,
    request: &Request,
    caller: &Actor,
    uid: Option<String>,
    pods: &[PodFacts],
    node: &str,
) -> Result<Response, RoundError> {
    let policies = attestor.index.policies();
    let now = clock::now();
    let host = attestor.index.host_of(node);
    let held = host.as_ref().and_then(|host| attestor.index.standing(host));
    let standing = held.as_ref().map(|held| &held.standing);
    let mut admission = admit_each(&policies, pods, standing, now);
    if admission.policies.is_empty() && admission.admitted() {
        return Ok(Response::allowed(request, None));
    }
    if host.is_none() {
        admission.refusals = vec![unmapped(node)];
    }
    let decision = Decision {
        admission,
        policy_digest: policies.digest,
        host,
        result_entry: held.map(|held| held.entry),
    };
    let entry = record(attestor, request, caller, uid, node, &decision, now).await?;
    let admission = &decision.admission;
    if admission.admitted() {
        return Ok(Response::allowed(request, entry));
    }
    let why = format!(
        "touchstone: {} (policy {})",
        prose::summary(&admission.refusals),
        admission.policies.join(", ")
    );
    Ok(Response::refused(request, &why, entry))
}

struct Decision {
    admission: Admission,
    policy_digest: Sha256Digest,
    host: Option<HostId>,
    result_entry: Option<Sha256Digest>,
}

/// Writes the decision down and returns the leaf hash of its entry; a dry run writes nothing.
async fn record(
    attestor: &Attestor,
    request: &Request,
    caller: &Actor,
    uid: Option<String>,
    node: &str,
    decision: &Decision,
    now: i64,
) -> Result<Option<Sha256Digest>, RoundError> {
    if request.dry_run {
        return Ok(None);
    }
    let event = Event::AdmissionDecided {
        review: request.uid.clone(),
        operation: format!("{} {}", request.operation, request.resource_name()),
        namespace: request.namespace.clone(),
        pod: request.pod_name().to_owned(),
        pod_uid: uid,
        node: node.to_owned(),
        host: decision.host.clone(),
        policies: decision.admission.policies.clone(),
        policy_digest: decision.policy_digest,
        admitted: decision.admission.admitted(),
        refusals: decision
            .admission
            .refusals
            .iter()
            .map(|finding| finding.code.clone())
            .collect(),
        result_entry: decision.result_entry,
    };
    let entry = Entry::new(&event, caller, now)?;
    let leaf = entry.leaf();
    attestor.commits.entry(entry).await?;
    Ok(Some(leaf))
}
