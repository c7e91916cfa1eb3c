//! What a review asks about a pod, once it is understood.

use std::collections::BTreeMap;

use serde::Deserialize;
use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::pod::{ObjectMeta, Pod};
use touchstone_policies::admit::PodFacts;

use super::review::{Binding, Request};
use super::tolerations::Opens;

/// A pod, and what is to happen with it: read once.
pub(super) struct Asked {
    /// The pod's name.
    pub(super) name: String,
    pub(super) uid: Option<String>,
    pub(super) what: What,
    /// What it comes to tolerate that keeps pods from hosts that are not trusted.
    pub(super) opens: Option<Opens>,
}

pub(super) enum What {
    /// It is made, and waits for a node.
    Created(PodFacts),
    /// It waits for a node, and may be another one from now on.
    Updated(PodFacts),
    /// It comes with its node.
    CreatedOn(PodFacts, String),
    /// It is on a node, and may be another one from now on.
    UpdatedOn {
        before: Option<Box<PodFacts>>,
        after: PodFacts,
        node: String,
    },
    /// A node is chosen for it, and it has these labels from then on, beside its own: newer API servers take them from the
    /// binding.
    Bound(String, BTreeMap<String, String>),
    /// It runs on this node already, without asking.
    Static(PodFacts, String),
}

impl What {
    /// The node that the pod is on, or comes to.
    pub(super) fn node(&self) -> Option<&str> {
        match self {
            Self::Created(_) | Self::Updated(_) => None,
            Self::CreatedOn(_, node)
            | Self::UpdatedOn { node, .. }
            | Self::Bound(node, _)
            | Self::Static(_, node) => Some(node),
        }
    }
}

impl Asked {
    /// Reads the object of a review about pods. A finding says why it cannot be judged.
    pub(super) fn read(request: &Request) -> Result<Self, Finding> {
        let resource = request.resource_name();
        match (request.operation.as_str(), resource.as_str()) {
            ("CREATE", "pods") => Self::created(request),
            ("UPDATE", "pods" | "pods/ephemeralcontainers" | "pods/status") => {
                Self::updated(request)
            }
            ("CREATE", "pods/binding" | "bindings") => {
                let binding: Binding = request.object()?;
                let labels = binding.metadata.labels.clone();
                let what = What::Bound(binding.target.name, labels);
                Ok(Self::of(request, &binding.metadata, what))
            }
            (operation, _) => Err(unsupported(operation, &resource)),
        }
    }

    fn created(request: &Request) -> Result<Self, Finding> {
        let pod: Pod = request.object()?;
        let facts = pod.facts(&request.namespace);
        let opens = match pod.is_mirror() {
            // Kubelets let every static pod tolerate all that evicts: what is to be said of its mirror is that it is one.
            true => None,
            false => Opens::of((&pod, &facts), None),
        };
        let node = pod.node().map(str::to_owned);
        let what = match node {
            // Kubelets mirror what runs on themselves; without a node it is on none that could be named.
            _ if pod.is_mirror() => What::Static(facts, node.unwrap_or_default()),
            Some(node) => What::CreatedOn(facts, node),
            None => What::Created(facts),
        };
        Ok(Self {
            opens,
            ..Self::of(request, &pod.metadata, what)
        })
    }

    fn updated(request: &Request) -> Result<Self, Finding> {
        let pod: Pod = request.object()?;
        let old: Option<Pod> = request.old_object()?;
        let after = pod.facts(&request.namespace);
        let before = old.as_ref().map(|old| old.facts(&request.namespace));
        let opens = Opens::of((&pod, &after), old.as_ref().zip(before.as_ref()));
        let what = match pod.node() {
            Some(node) => What::UpdatedOn {
                before: before.map(Box::new),
                after,
                node: node.to_owned(),
            },
            None => What::Updated(after),
        };
        Ok(Self {
            opens,
            ..Self::of(request, &pod.metadata, what)
        })
    }

    fn of(request: &Request, object: &ObjectMeta, what: What) -> Self {
        Self {
            name: request.name(object).to_owned(),
            uid: object.uid.clone().filter(|uid| !uid.is_empty()),
            what,
            opens: None,
        }
    }
}

/// A pod of which the labels alone are read.
#[derive(Deserialize)]
struct Labelled {
    #[serde(default)]
    metadata: ObjectMeta,
}

/// Whether it is what kubelets tell of their pods, all the time, and no more: API servers take of such a change the labels
/// beside the status, and these stay as they are.
pub(super) fn is_mere_status(request: &Request) -> bool {
    if request.operation != "UPDATE" || request.resource_name() != "pods/status" {
        return false;
    }
    let after = request.object::<Labelled>();
    let before = request.old_object::<Labelled>();
    match (after, before) {
        (Ok(after), Ok(Some(before))) => after.metadata.labels == before.metadata.labels,
        _ => false,
    }
}

/// Rules of the webhook configuration send what nobody here judges.
pub(super) fn unsupported(operation: &str, resource: &str) -> Finding {
    Finding::new("review-unsupported").observed(format_args!("{operation} of {resource}"))
}
