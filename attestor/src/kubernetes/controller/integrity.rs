//! Whether a node runs what a pod names, as its kubelet reports it. A kubelet that lies is one on a host that root was
//! lost on: the verdict says that, not this.

use touchstone_evidence::finding::Finding;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_kubernetes::pods::{ContainerStatus, Pod};
use touchstone_policies::admit::PodFacts;

/// A reason for each container that runs another image than `facts` have of it.
pub(super) fn refusals(pod: &Pod, facts: &PodFacts) -> Vec<Finding> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let reported = lists.into_iter().flatten();
    // Before it is pulled there is nothing to report.
    let reported = reported.filter(|container| !container.image_id.is_empty());
    reported
        .filter_map(|container| refusal(container, facts))
        .collect()
}

fn refusal(reported: &ContainerStatus, facts: &PodFacts) -> Option<Finding> {
    let mut images = facts.images.iter();
    let asked = images
        .find(|image| image.container == reported.name)?
        .digest?;
    let runs = digest(&reported.image_id);
    // Of what has ended a runtime no longer knows the name, once its image was taken off the node, as by a purge.
    if runs.is_none() && reported.state.running.is_none() {
        return None;
    }
    (runs != Some(asked)).then(|| {
        Finding::new("image-other-runs")
            .about(&reported.name)
            .expected(asked)
            .observed(&reported.image_id)
    })
}

/// The manifest that an `imageID` names: `NAME@sha256:…`, with or without a scheme before it. A bare digest is that of
/// an image's configuration, and says nothing of where it is from.
fn digest(image_id: &str) -> Option<OciDigest> {
    image_id.rsplit_once('@')?.1.parse().ok()
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
        let seen = |image_id: &str, state: &str| -> Vec<String> {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": { "name": "api" },
                "spec": { "containers": [{ "name": "c", "image": format!("r.example/a@sha256:{asked}") }] },
                "status": { "containerStatuses": [{ "name": "c", "imageID": image_id, "state": { state: {} } }] },
            }))
            .unwrap();
            let facts = pod::facts("payments", &Default::default(), &pod.spec);
            let refusals = refusals(&pod, &facts).into_iter();
            refusals.map(|finding| finding.code).collect()
        };
        let runs = |image_id: &str| seen(image_id, "running");
        assert!(runs("").is_empty());
        for same in [
            "r.example/a",
            "docker-pullable://r.example/a",
            "mirror.example/b",
        ] {
            assert!(runs(&format!("{same}@sha256:{asked}")).is_empty());
        }
        for differs in [
            format!("r.example/a@sha256:{other}"),
            format!("sha256:{asked}"),
            "r.example/a:1".to_owned(),
        ] {
            assert_eq!(runs(&differs), ["image-other-runs"], "{differs}");
        }
        // It ran, and says what it was; or its image is gone from the node.
        let ended = |image_id: &str| seen(image_id, "terminated");
        let another = format!("r.example/a@sha256:{other}");
        assert_eq!(ended(&another), ["image-other-runs"]);
        assert!(ended(&format!("sha256:{other}")).is_empty());
    }
}
