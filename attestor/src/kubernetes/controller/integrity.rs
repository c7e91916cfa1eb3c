//! Whether a node runs what a pod names, as its kubelet reports it. A kubelet that lies is one on a host that root was
//! lost on: the verdict says that, not this.
//!
//! One image has many digests. Where a node reports another one than the pod names, it is found out whether it is of the
//! same image, beside the rounds; until that is known, no pod ends for it.

mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout_at;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_kubernetes::image::ImageName;
use touchstone_kubernetes::pods::{ContainerStatus, Pod};
use touchstone_policies::admit::{ImageFacts, PodFacts};
use touchstone_policies::manifest::WorkloadPolicy;

use crate::attestor::Attestor;
use crate::kubernetes::Webhook;
use crate::kubernetes::same_image::{Runs, UnknownImage};

use turn::Waiting;

/// Most questions under way.
const AT_ONCE: usize = 4;
/// How long one question takes at most, of however many manifests.
const PATIENCE: Duration = Duration::from_secs(20);
/// Before what was not found out is asked again.
const PAUSE: Duration = Duration::from_secs(60);

/// What a pod asks for, and what a node runs instead.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Pair {
    namespace: String,
    /// As the pod names it.
    reference: String,
    asked: OciDigest,
    runs: Runs,
}

impl Pair {
    /// The same, asked of no registry that policy lets no image come from: its name is the kubelet's word. The pod's own
    /// repository is asked then.
    fn asked_where_policy_lets(mut self, selected: &[(&str, &WorkloadPolicy)]) -> Self {
        if let Runs::Manifest { name, .. } = &mut self.runs {
            let full = ImageName::parse(name).map(|name| name.full());
            let lets = |(_, policy): &(&str, &WorkloadPolicy)| {
                let from = policy.images.as_ref().and_then(|it| it.from.as_ref());
                from.is_none_or(|from| {
                    let mut prefixes = from.iter();
                    prefixes.any(|prefix| full.as_deref().is_some_and(|full| prefix.begins(full)))
                })
            };
            if !selected.iter().all(lets) {
                name.clone_from(&self.reference);
            }
        }
        self
    }
}

/// A container of which a node reports another digest than its pod names.
pub(super) struct Differing {
    container: String,
    /// As the node reports it.
    image_id: String,
    pair: Pair,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    Same,
    Other,
    /// Since when.
    Unknown(Instant),
}

/// What was found out.
pub(super) struct Integrity {
    webhook: Arc<Webhook>,
    answers: BTreeMap<Pair, Answer>,
    /// Those that were seen since the look began.
    seen: BTreeSet<Pair>,
    asking: BTreeSet<Pair>,
    questions: JoinSet<(Pair, Answer)>,
    /// The namespace whose question was the last.
    last: String,
}

impl Integrity {
    /// Nothing yet.
    pub(super) fn new(webhook: Arc<Webhook>) -> Self {
        Self {
            webhook,
            answers: BTreeMap::new(),
            seen: BTreeSet::new(),
            asking: BTreeSet::new(),
            questions: JoinSet::new(),
            last: String::new(),
        }
    }

    /// A look at all pods begins.
    pub(super) fn begin(&mut self) {
        self.seen.clear();
        while let Some(answer) = self.questions.try_join_next() {
            let Ok((pair, answer)) = answer else {
                // Which one it was is not known; all that wait are asked again.
                self.asking.clear();
                continue;
            };
            self.asking.remove(&pair);
            self.answers.insert(pair, answer);
        }
    }

    /// A reason for each container that runs another image than the pod names, where a policy asks for images.
    pub(super) fn refusals(
        &mut self,
        selected: &[(&str, &WorkloadPolicy)],
        differing: &[Differing],
    ) -> Vec<Finding> {
        if !selected.iter().any(|(_, policy)| policy.images.is_some()) {
            return Vec::new();
        }
        let found = differing.iter().filter_map(|differing| {
            let pair = differing.pair.clone().asked_where_policy_lets(selected);
            let answer = self.answers.get(&pair).copied();
            let asked = pair.asked;
            self.seen.insert(pair);
            (answer == Some(Answer::Other)).then(|| {
                Finding::new("image-other-runs")
                    .about(&differing.container)
                    .expected(asked)
                    .observed(&differing.image_id)
            })
        });
        found.collect()
    }

    /// Finds out what was seen and is not known; forgets what was not seen.
    pub(super) fn ask(&mut self, attestor: &Arc<Attestor>) {
        let seen = std::mem::take(&mut self.seen);
        self.answers.retain(|pair, _| seen.contains(pair));
        if self.questions.len() >= AT_ONCE {
            return;
        }
        let mut waiting = Waiting::default();
        for pair in seen {
            let asked_at = match self.answers.get(&pair) {
                None => None,
                Some(Answer::Unknown(since)) if since.elapsed() >= PAUSE => Some(*since),
                Some(_) => continue,
            };
            if !self.asking.contains(&pair) {
                waiting.add(asked_at, pair);
            }
        }
        while self.questions.len() < AT_ONCE {
            let Some(pair) = waiting.next_after(&self.last) else {
                return;
            };
            self.last.clone_from(&pair.namespace);
            self.asking.insert(pair.clone());
            let (attestor, webhook) = (Arc::clone(attestor), Arc::clone(&self.webhook));
            let question = async move {
                let answer = find_out(&attestor, &webhook, &pair).await;
                (pair, answer)
            };
            self.questions.spawn(question);
        }
    }
}

async fn find_out(attestor: &Attestor, webhook: &Webhook, pair: &Pair) -> Answer {
    let asked = (&*pair.reference, &pair.asked);
    let (store, images) = (&attestor.store, &webhook.images);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let wait = (&*pair.namespace, deadline);
    let found = timeout_at(deadline, images.is_same(store, wait, asked, &pair.runs)).await;
    match found.unwrap_or(Err(UnknownImage::Slow)) {
        Ok(true) => Answer::Same,
        Ok(false) => Answer::Other,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                k8s.namespace = pair.namespace,
                image = pair.reference,
                runs = %pair.runs.digest(),
                "a node reports another digest than a pod names, and whether it is of the same image is not known"
            );
            Answer::Unknown(Instant::now())
        }
    }
}

/// The containers of which a node reports another digest than the pod names.
pub(super) fn differing(pod: &Pod, facts: &PodFacts) -> Vec<Differing> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let pair = |reported: &ContainerStatus| -> Option<Pair> {
        let mut images = facts.images.iter();
        let image: &ImageFacts = images.find(|image| image.container == reported.name)?;
        let asked = image.digest?;
        // Before it is pulled there is nothing to report.
        let runs = Runs::read(&reported.image_id)?;
        // Of what has ended a runtime no longer knows the name, once its image was taken off the node, as by a purge.
        if !reported.image_id.contains('@') && reported.state.running.is_none() {
            return None;
        }
        (*runs.digest() != asked).then(|| Pair {
            namespace: facts.namespace.clone(),
            reference: image.reference.clone(),
            asked,
            runs,
        })
    };
    let reported = lists.into_iter().flatten();
    let differing = reported.filter_map(|reported| {
        Some(Differing {
            container: reported.name.clone(),
            image_id: reported.image_id.clone(),
            pair: pair(reported)?,
        })
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;
    use touchstone_kubernetes::pod;

    use super::*;

    #[test]
    fn what_a_node_reports_is_held_against_what_the_pod_names() {
        let (asked, other) = ("0a".repeat(32), "0b".repeat(32));
        let seen = |image_id: &str, state: &str| -> usize {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": { "name": "api" },
                "spec": { "containers": [{ "name": "c", "image": format!("r.example/a@sha256:{asked}") }] },
                "status": { "containerStatuses": [{ "name": "c", "imageID": image_id, "state": { state: {} } }] },
            }))
            .unwrap();
            let facts = pod::facts("n", &BTreeMap::new(), &pod.spec);
            differing(&pod, &facts).len()
        };
        let differs = |image_id: &str| seen(image_id, "running");
        assert_eq!(differs(""), 0);
        for same in [
            "r.example/a",
            "docker-pullable://r.example/a",
            "mirror.example/b",
        ] {
            assert_eq!(differs(&format!("{same}@sha256:{asked}")), 0);
        }
        for other in [
            format!("r.example/a@sha256:{other}"),
            format!("sha256:{other}"),
            other.clone(),
        ] {
            assert_eq!(differs(&other), 1, "{other}");
        }
        // It ran, and says what it was; or its image is gone from the node.
        let ended = |image_id: &str| seen(image_id, "terminated");
        let another = format!("r.example/a@sha256:{other}");
        assert_eq!(ended(&another), 1);
        assert_eq!(ended(&format!("sha256:{other}")), 0);
    }

    #[test]
    fn a_kubelet_names_no_registry_that_policy_does_not_let_images_come_from() {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [a]}, host: {tier: affirming}, images: {from: [r.example/]}}\n";
        let policies = touchstone_policies::manifest::PolicySet::parse(manifest).unwrap();
        let asked = |selected: &[(&str, &WorkloadPolicy)], runs: &str| {
            let (asked, other) = ("0a".repeat(32), "0b".repeat(32));
            let pair = Pair {
                namespace: "a".to_owned(),
                reference: "r.example/a".to_owned(),
                asked: format!("sha256:{asked}").parse().unwrap(),
                runs: Runs::read(&format!("{runs}@sha256:{other}")).unwrap(),
            };
            match pair.asked_where_policy_lets(selected).runs {
                Runs::Manifest { name, .. } => name,
                Runs::Id(_) => String::new(),
            }
        };
        let of = [("w", &policies.workloads["w"])];
        assert_eq!(asked(&of, "r.example/b"), "r.example/b");
        for elsewhere in ["10.0.0.1:80/b", "mirror.example/a", "not a name"] {
            assert_eq!(asked(&of, elsewhere), "r.example/a", "{elsewhere}");
            assert_eq!(asked(&[], elsewhere), elsewhere);
        }
    }
}
