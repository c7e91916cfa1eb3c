//! Whether a pod is what its workload was made of, and the record that its first pod leaves.

use std::sync::Arc;

use touchstone_evidence::publisher::SignedImage;
use touchstone_policies::admit::workload::{MadeOf, parts};
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

/// What each of `records` says.
pub(super) fn recorded(records: &[Option<Arc<Record>>]) -> Vec<Option<&[MadeOf]>> {
    let records = records.iter();
    records
        .map(|record| record.as_ref().map(|record| &*record.made))
        .collect()
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
