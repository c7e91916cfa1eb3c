//! Whether a pod is what its workload was made of, and the record that its first pod leaves.

use std::sync::Arc;

use touchstone_evidence::finding::Finding;
use touchstone_evidence::publisher::SignedImage;
use touchstone_policies::admit::workload::{changes as differences, made_of, parts, too_large};
use touchstone_policies::admit::{ImageFacts, PodFacts, policies_for_any};
use touchstone_policies::manifest::PolicySet;

use super::images::Images;
use super::judge::Judge;
use crate::store::StoreError;
use crate::workloads::{First, MadeImage, Record};

impl Judge<'_> {
    /// What is recorded of the workload of each of `pods` that `policies` are for.
    pub(super) async fn records(
        &self,
        policies: &PolicySet,
        pods: &[PodFacts],
    ) -> Result<Vec<Option<Arc<Record>>>, StoreError> {
        let mut all = Vec::new();
        if policies_for_any(policies, pods).is_empty() {
            return Ok(all);
        }
        for pod in pods {
            // A pod by itself has a record of its own alone, which it did not leave before it was admitted.
            let controlled = pod.workload.as_ref().filter(|of| !of.is_alone());
            all.push(match controlled {
                Some(workload) => self.attestor.workloads.of(&pod.namespace, workload).await?,
                None => None,
            });
        }
        Ok(all)
    }
}

/// How `pods`, which are one and the same as it was seen, differ from the `records` of their workloads, and from each
/// other. `before`: what the pod was until now. Where policies came to be for them since these were read, the first of
/// them is compared once more when it is written down.
pub(super) fn changes(
    policies: &PolicySet,
    pods: &[PodFacts],
    before: Option<&PodFacts>,
    records: &[Option<Arc<Record>>],
) -> Vec<Finding> {
    let mut all = Vec::new();
    if policies_for_any(policies, pods).is_empty() {
        return all;
    }
    if let Some(finding) = pods.iter().find_map(too_large) {
        return vec![finding];
    }
    let first = before.or(pods.first()).map(made_of).unwrap_or_default();
    for (index, pod) in pods.iter().enumerate() {
        let now = made_of(pod);
        add(&mut all, differences(&first, &now));
        if let Some(Some(record)) = records.get(index) {
            add(&mut all, differences(&record.made, &now));
        }
    }
    all
}

/// What the first pod of a workload leaves behind; `None`: no policy is for it, or nobody knows whose it is.
pub(super) fn first(policies: &PolicySet, images: &Images, pods: &[PodFacts]) -> Option<First> {
    let pod = pods.first()?;
    if policies_for_any(policies, pods).is_empty() {
        return None;
    }
    Some(First {
        namespace: pod.namespace.clone(),
        workload: pod.workload.clone()?,
        images: parts(pod).map(|image| kept(image, images)).collect(),
    })
}

fn kept(image: &ImageFacts, images: &Images) -> MadeImage {
    let known = image.digest.and_then(|digest| images.known(&digest));
    let known = known.as_deref();
    MadeImage {
        container: image.container.clone(),
        used: image.used,
        reference: image.reference.clone(),
        manifest: image.digest,
        config: known.map(|known| known.config),
        layers: known.and_then(|known| MadeImage::few(&known.layers)),
        // Of an index too, where policy asked.
        encrypted: known.map(|known| known.encrypted).or(image.encrypted),
        publisher: known.and_then(|known| known.publisher.clone()),
        signers: image
            .signers
            .as_ref()
            .map(|signers| signers.iter().map(SignedImage::key).collect()),
    }
}

/// Adds what is not there yet.
fn add(all: &mut Vec<Finding>, more: Vec<Finding>) {
    for finding in more {
        if !all.contains(&finding) {
            all.push(finding);
        }
    }
}
