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
use pins::Tagged;

/// Largest pod that is rewritten, with what it was before, bytes. As a tree, which alone shows what is to stay, each byte of
/// it may be a hundred. A larger one is left as it is, and judged so.
const SIZE_MAX: usize = 1 << 20;
/// Most of those trees, for the same reason.
pub(super) const AT_ONCE: usize = 2;
/// Smallest pod, with what it was before, whose rewriting others are not to wait for, bytes.
const APART_MIN: usize = 32 << 10;

pub(crate) use fitting::Fitting;

/// Answers one review: allowed, and with a patch where a policy asks for one.
pub(crate) async fn answer(attestor: &Attestor, webhook: &Webhook, request: &Request) -> Response {
    match patch(attestor, webhook, request).await {
        Some(patch) => Response::patched(request, &patch),
        None => Response::allowed(request, None),
    }
}

/// A JSON Patch; `None`: nothing is to be changed. No tree is held while somebody else is waited for.
async fn patch(attestor: &Attestor, webhook: &Webhook, request: &Request) -> Option<Vec<u8>> {
    if !is_for(request) {
        return None;
    }
    let known: Pod = request.object().ok()?;
    let policies = attestor.index.policies();
    let facts = known.facts(&request.namespace);
    let selected = policies_for(&policies, &facts);
    if selected.is_empty() || is_too_large(request) {
        return None;
    }
    let secrets = PullSecrets::of(webhook.cluster.as_ref(), std::slice::from_ref(&facts));
    let pinned = resolve_tags(webhook, request, &secrets, &selected).await?;
    let created = request.operation == "CREATE";
    let held = created
        && placement::holds(&selected)
        && !fits_somewhere(attestor, &webhook.fitting, &policies, &selected);
    let _turn = webhook.rewriting.acquire().await.ok()?;
    apart(request.size(), || {
        rewritten(request, &selected, held, &pinned)
    })
}

/// Does `work` on a pod of `size` bytes, with a large one while others go on elsewhere: as a tree it may take tens of
/// milliseconds. It is not given up half-way, so that no more trees are held than permits.
fn apart<T>(size: usize, work: impl FnOnce() -> T) -> T {
    match size < APART_MIN {
        true => work(),
        false => tokio::task::block_in_place(work),
    }
}

/// The patch that makes of the pod what these policies ask for; `held`: it waits until there is a node for it.
fn rewritten(
    request: &Request,
    selected: &[(&str, &WorkloadPolicy)],
    held: bool,
    pinned: &[(Tagged, String)],
) -> Option<Vec<u8>> {
    let sent: Value = request.object().ok()?;
    let mut pod = sent.clone();
    let mut changes = Vec::new();
    let created = request.operation == "CREATE";
    if created {
        changes.extend(place(&mut pod, selected, held));
    }
    let pinned = pinned.iter();
    changes.extend(pinned.filter_map(|(one, digest)| pins::pin(&mut pod, one, digest)));
    if created || !changes.is_empty() {
        let names: Vec<&str> = selected.iter().map(|(name, _)| *name).collect();
        notes::write(&mut pod, &names, changes);
    }
    let patch = json_patch::diff(&sent, &pod);
    let bytes = serde_json::to_vec(&patch).ok()?;
    (!patch.0.is_empty()).then_some(bytes)
}

fn is_too_large(request: &Request) -> bool {
    let size = request.size();
    if size > SIZE_MAX {
        let namespace = &request.namespace;
        tracing::warn!(
            k8s.namespace = namespace,
            size,
            "a pod is too large to be rewritten, and is judged as it is"
        );
    }
    size > SIZE_MAX
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

/// The tags that a digest is put in the place of, with it.
async fn resolve_tags(
    webhook: &Webhook,
    request: &Request,
    secrets: &PullSecrets,
    selected: &[(&str, &WorkloadPolicy)],
) -> Option<Vec<(Tagged, String)>> {
    let mut tagged = {
        let _turn = webhook.rewriting.acquire().await.ok()?;
        apart(request.size(), || {
            let pod: Value = request.object().ok()?;
            let old = request.old_object::<Value>().ok().flatten();
            Some(pins::tagged(&pod, old.as_ref()))
        })?
    };
    tagged.retain(|one| {
        let name = ImageName::parse(&one.image);
        name.is_some_and(|name| placement::pins(selected, &name.full()))
    });
    let images: BTreeSet<&str> = tagged.iter().map(|one| one.image.as_str()).collect();
    let (registries, namespace) = (webhook.images.registries(), &request.namespace);
    let digests = resolve::digests(registries, namespace, &images, secrets).await;
    let found = tagged.into_iter().filter_map(|one| {
        let digest = digests.get(&one.image)?.clone();
        Some((one, digest))
    });
    Some(found.collect())
}
