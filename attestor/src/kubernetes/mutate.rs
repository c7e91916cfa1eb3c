//! Mutating admission: what its policies ask of a pod is written into it before it is judged.
//!
//! It never decides: what fails here leaves the pod as it is, and validating judges it then. It goes by what is held,
//! confirmed or not: a pod is only ever narrowed.

mod affinity;
mod ending;
mod fitting;
mod gate;
mod notes;
mod object;
mod pins;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Deserialize as _;
use serde_json::Value;
use touchstone_kubernetes::image::ImageName;
use touchstone_kubernetes::pod::Pod;
use touchstone_policies::admit::{Behind, policies_for, refusals_of};
use touchstone_policies::manifest::{PolicySet, WorkloadPolicy};
use touchstone_policies::placement;

use super::Webhook;
use super::pull_secrets::PullSecrets;
use super::resolve;
use super::review::{Request, Response};
use crate::attestor::Attestor;
use crate::clock;

pub(crate) use fitting::Fitting;

/// Answers one review: allowed, and with a patch where a policy asks for one.
pub(crate) async fn answer(attestor: &Attestor, webhook: &Webhook, request: &Request) -> Response {
    let sent = request.object::<Value>().ok().filter(|_| is_for(request));
    let known = sent.as_ref().and_then(|sent| Pod::deserialize(sent).ok());
    let (Some(sent), Some(known)) = (sent, known) else {
        return Response::allowed(request, None);
    };
    let policies = attestor.index.policies();
    let facts = known.facts(&request.namespace);
    let selected = policies_for(&policies, &facts);
    if selected.is_empty() {
        return Response::allowed(request, None);
    }
    let mut pod = sent.clone();
    let mut changes = Vec::new();
    let created = request.operation == "CREATE";
    if created {
        let held = placement::holds(&selected)
            && !fits_somewhere(attestor, &webhook.fitting, &policies, &selected);
        changes.extend(place(&mut pod, &selected, held));
    }
    let old = request.old_object::<Value>().ok().flatten();
    let namespace = &request.namespace;
    let secrets = PullSecrets::of(webhook.cluster.as_ref(), std::slice::from_ref(&facts));
    changes.extend(
        resolve_tags(
            webhook,
            (namespace, &secrets),
            &selected,
            &mut pod,
            old.as_ref(),
        )
        .await,
    );
    if created || !changes.is_empty() {
        let names: Vec<&str> = selected.iter().map(|(name, _)| *name).collect();
        notes::write(&mut pod, &names, changes);
    }
    let patch = json_patch::diff(&sent, &pod);
    match serde_json::to_vec(&patch) {
        Ok(bytes) if !patch.0.is_empty() => Response::patched(request, &bytes),
        _ => Response::allowed(request, None),
    }
}

/// Whether it is a pod that is made, or whose containers are changed.
fn is_for(request: &Request) -> bool {
    let pods = ["pods", "pods/ephemeralcontainers"];
    let acts = ["CREATE", "UPDATE"];
    pods.contains(&request.resource_name().as_str()) && acts.contains(&request.operation.as_str())
}

/// What can be said to a new pod alone: API servers let none of it change later.
fn place(pod: &mut Value, selected: &[(&str, &WorkloadPolicy)], held: bool) -> Vec<String> {
    let mut changes = affinity::require(pod, &placement::demands(selected));
    if let Some(limit) = placement::termination_grace_seconds(selected) {
        changes.extend(ending::hasten(pod, limit));
    }
    if held {
        changes.extend(gate::hold(pod));
    }
    changes
}

/// Whether the pod could run on any node now.
fn fits_somewhere(
    attestor: &Attestor,
    fitting: &Fitting,
    policies: &PolicySet,
    selected: &[(&str, &WorkloadPolicy)],
) -> bool {
    let index = &attestor.index;
    if !index.is_confirmed() {
        return false;
    }
    let basis = (policies.digest, index.changes());
    let names = selected.iter().map(|(name, _)| (*name).to_owned());
    fitting.of(basis, names.collect(), Instant::now(), || {
        let now = clock::now();
        index.any_behind_a_node(|standing| {
            refusals_of(policies, selected, Behind::Host(Some(standing)), now).is_empty()
        })
    })
}

async fn resolve_tags(
    webhook: &Webhook,
    (namespace, secrets): (&str, &PullSecrets),
    selected: &[(&str, &WorkloadPolicy)],
    pod: &mut Value,
    old: Option<&Value>,
) -> Vec<String> {
    let mut tagged = pins::tagged(pod, old);
    tagged.retain(|one| {
        let name = ImageName::parse(&one.image);
        name.is_some_and(|name| placement::pins(selected, &name.full()))
    });
    let images: BTreeSet<&str> = tagged.iter().map(|one| one.image.as_str()).collect();
    let digests = resolve::digests(webhook.images.registries(), namespace, &images, secrets).await;
    tagged
        .iter()
        .filter_map(|one| pins::pin(pod, one, digests.get(&one.image)?))
        .collect()
}
