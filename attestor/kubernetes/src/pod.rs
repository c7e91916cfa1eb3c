//! Pods (`v1`, core group), as far as they are looked at, and what policy looks at in them. Unknown fields are the API
//! server's business and are skipped.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use touchstone_policies::admit::{ImageFacts, ImageUse, PodFacts, REFERENCE_MAX};

use crate::image::ImageName;
use crate::names::TAINT;
use crate::workload;

/// A kubelet marks with it what it runs without asking: the pod is a mirror of a file on its node.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Most pull secrets of a pod that are read, and the longest name of one.
const PULL_SECRETS_MAX: usize = 4;
const NAME_MAX: usize = 253;
/// The account of a pod that names none.
const DEFAULT_ACCOUNT: &str = "default";

/// A pod.
#[derive(Clone, Debug, Deserialize)]
pub struct Pod {
    /// Who it is.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What it is to be.
    pub spec: PodSpec,
}

/// `ObjectMeta`, of any object.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ObjectMeta {
    /// Name; empty where the API server is yet to make one.
    #[serde(default)]
    pub name: String,
    /// Namespace; reviews say it beside the object.
    #[serde(default)]
    pub namespace: String,
    /// What the API server calls it, once and never again.
    #[serde(default)]
    pub uid: Option<String>,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whose it is.
    #[serde(
        rename = "ownerReferences",
        default,
        deserialize_with = "null_is_empty"
    )]
    pub owner_references: Vec<OwnerReference>,
}

/// `OwnerReference`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OwnerReference {
    /// Kind of the owner.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it makes the object; one owner does at most.
    pub controller: Option<bool>,
}

/// `PodSpec`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// The node that it is bound to.
    #[serde(default)]
    pub node_name: Option<String>,
    /// The account that it runs as.
    #[serde(default)]
    pub service_account_name: String,
    /// Containers.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub containers: Vec<Container>,
    /// Init containers, and sidecars.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub init_containers: Vec<Container>,
    /// Containers that were put into it while it ran.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub ephemeral_containers: Vec<Container>,
    /// Volumes.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub volumes: Vec<Volume>,
    /// Secrets with credentials for registries, of its namespace.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub image_pull_secrets: Vec<PullSecret>,
    /// Seconds that it gets to end in; API servers take any number.
    #[serde(default)]
    pub termination_grace_period_seconds: Option<i64>,
    /// Taints that do not keep it away.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub tolerations: Vec<Toleration>,
    /// What it waits for before a scheduler looks at it (Kubernetes 1.26).
    #[serde(default, deserialize_with = "null_is_empty")]
    pub scheduling_gates: Vec<SchedulingGate>,
}

/// `Toleration`, as far as it is looked at. For how many seconds it holds makes it no other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Toleration {
    /// Empty: any taint, with the operator `Exists`.
    #[serde(default)]
    pub key: String,
    /// `Exists` or `Equal`; empty: `Equal`.
    #[serde(default)]
    pub operator: String,
    /// Empty: each effect.
    #[serde(default)]
    pub effect: String,
}

impl Toleration {
    /// Whether a pod with it could stay where our taint is. Which values of it there are does not count: there may be more of
    /// them one day.
    #[must_use]
    pub fn lets_pass(&self) -> bool {
        let any = self.key.is_empty() && self.operator == "Exists";
        (any || self.key == TAINT) && self.effect != "PreferNoSchedule"
    }

    /// What it tolerates, in words.
    #[must_use]
    pub fn called(&self) -> String {
        match self.key.as_str() {
            "" => "every taint".to_owned(),
            key => key.to_owned(),
        }
    }
}

/// `PodSchedulingGate`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SchedulingGate {
    /// Who opens it.
    pub name: String,
}

/// `Container` and `EphemeralContainer`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Its image; the API server takes no pod without one, where it looks.
    #[serde(default, deserialize_with = "reference")]
    pub image: String,
}

/// `Volume`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// An image whose files are mounted (Kubernetes 1.31).
    #[serde(default)]
    pub image: Option<ImageVolume>,
}

/// `ImageVolumeSource`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ImageVolume {
    /// Its name.
    #[serde(default, deserialize_with = "reference")]
    pub reference: String,
}

/// `LocalObjectReference`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PullSecret {
    /// Name of the secret.
    #[serde(default)]
    pub name: String,
}

/// Go writes `null` for a list or a map that was never made.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A reference of an image. Of one that is too long only that is kept: pods are held by the thousand, and API servers take
/// any length.
pub(crate) fn reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let sent = String::deserialize(deserializer)?;
    if sent.len() <= REFERENCE_MAX {
        return Ok(sent);
    }
    let mut kept: String = sent.chars().take(REFERENCE_MAX).collect();
    kept.push('…');
    Ok(kept)
}

impl Pod {
    /// Whether a kubelet runs it without asking.
    #[must_use]
    pub fn is_mirror(&self) -> bool {
        self.metadata.annotations.contains_key(MIRROR)
    }

    /// The node that it is bound to.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        let node = self.spec.node_name.as_deref();
        node.filter(|node| !node.is_empty())
    }

    /// What policy looks at in it, in `namespace`.
    #[must_use]
    pub fn facts(&self, namespace: &str) -> PodFacts {
        PodFacts {
            workload: workload::of_reviewed(&self.metadata),
            ..facts(namespace, &self.metadata.labels, &self.spec)
        }
    }
}

/// What policy looks at in a pod, whoever made it. Of its images nothing is known yet but their names.
#[must_use]
pub fn facts(namespace: &str, labels: &BTreeMap<String, String>, spec: &PodSpec) -> PodFacts {
    let account = match spec.service_account_name.as_str() {
        "" => DEFAULT_ACCOUNT,
        named => named,
    };
    PodFacts {
        namespace: namespace.to_owned(),
        labels: labels.clone(),
        service_account: account.to_owned(),
        images: images(spec),
        workload: None,
        pull_secrets: pull_secrets(spec),
        tolerates: spec
            .tolerations
            .iter()
            .find(|one| one.lets_pass())
            .map(Toleration::called),
    }
}

fn pull_secrets(spec: &PodSpec) -> Vec<String> {
    let names = spec.image_pull_secrets.iter();
    let names = names.filter(|secret| !secret.name.is_empty() && secret.name.len() <= NAME_MAX);
    let few = names.take(PULL_SECRETS_MAX);
    few.map(|secret| secret.name.clone()).collect()
}

/// The image of every container, whichever list it stands in, and those that are mounted.
fn images(spec: &PodSpec) -> Vec<ImageFacts> {
    let lists = [
        (ImageUse::Ordinary, &spec.containers),
        (ImageUse::Init, &spec.init_containers),
        (ImageUse::Ephemeral, &spec.ephemeral_containers),
    ];
    let of_list = |(used, list): (ImageUse, &Vec<Container>)| -> Vec<ImageFacts> {
        let images = list.iter().map(|one| image(used, &one.name, &one.image));
        images.collect()
    };
    let mounted = spec.volumes.iter().filter_map(|volume| {
        let reference = &volume.image.as_ref()?.reference;
        Some(image(ImageUse::Volume, &volume.name, reference))
    });
    lists.into_iter().flat_map(of_list).chain(mounted).collect()
}

fn image(used: ImageUse, container: &str, reference: &str) -> ImageFacts {
    let name = ImageName::parse(reference);
    ImageFacts {
        container: container.to_owned(),
        used,
        reference: reference.to_owned(),
        name: name.as_ref().map(ImageName::full),
        digest: name.as_ref().and_then(ImageName::digest),
        encrypted: None,
        registered: None,
        signers: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::{Value, json};
    use touchstone_policies::admit::workload::too_large;

    use super::*;

    fn pod(spec: &Value) -> Pod {
        let pod = json!({ "metadata": { "labels": { "app": "a" } }, "spec": spec });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn images_of_all_kinds_of_containers_are_seen() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let pod = pod(&json!({
            "containers": [{ "name": "c", "image": format!("r.example/a@{digest}"), "ports": [1] }],
            "initContainers": [{ "name": "i", "image": "r.example/b:1", "restartPolicy": "Always" }],
            "ephemeralContainers": [{ "name": "e", "image": "c", "targetContainerName": "c" }],
            "volumes": [
                { "name": "v", "image": { "reference": "r.example/d:1" } },
                { "name": "w", "emptyDir": {} },
            ],
        }));
        let facts = pod.facts("payments");
        let seen: Vec<(&str, ImageUse, Option<&str>)> = facts
            .images
            .iter()
            .map(|image| (&*image.container, image.used, image.name.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("c", ImageUse::Ordinary, Some("r.example/a")),
                ("i", ImageUse::Init, Some("r.example/b")),
                ("e", ImageUse::Ephemeral, Some("docker.io/library/c")),
                ("v", ImageUse::Volume, Some("r.example/d")),
            ]
        );
        assert_eq!(facts.images[0].digest.unwrap().to_string(), digest);
        assert!(facts.images[1..].iter().all(|image| image.digest.is_none()));
        assert_eq!(
            (
                &*facts.namespace,
                &*facts.service_account,
                &*facts.labels["app"]
            ),
            ("payments", "default", "a")
        );
    }

    #[test]
    fn a_toleration_of_the_taint_or_of_everything_lets_pass() {
        let tolerates = |toleration: &Value| {
            let pod = pod(&json!({ "tolerations": [toleration] }));
            pod.facts("payments").tolerates
        };
        for passing in [
            json!({ "operator": "Exists" }),
            json!({ "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9 }),
            json!({ "key": TAINT, "operator": "Exists" }),
            json!({ "key": TAINT, "value": "new", "effect": "NoSchedule" }),
        ] {
            assert!(tolerates(&passing).is_some(), "{passing}");
        }
        for harmless in [
            json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists" }),
            json!({ "operator": "Exists", "effect": "PreferNoSchedule" }),
            json!({ "key": "", "operator": "Equal" }),
        ] {
            assert_eq!(tolerates(&harmless), None, "{harmless}");
        }
    }

    #[test]
    fn of_a_name_that_nobody_pulls_by_a_little_is_kept_and_it_stays_too_long() {
        let long = "ä".repeat(1_000_000);
        let pod = pod(&json!({
            "containers": [{ "name": "c", "image": long }],
            "volumes": [{ "name": "v", "image": { "reference": long } }],
        }));
        let facts = pod.facts("payments");
        for image in &facts.images {
            let kept = image.reference.len();
            assert!(kept > REFERENCE_MAX && kept < 4 * REFERENCE_MAX, "{kept}");
            assert_eq!((&image.name, image.digest), (&None, None));
        }
        assert_eq!(facts.images.len(), 2);
        let code = too_large(&facts).unwrap().code;
        assert_eq!(code, "image-name-too-long");
    }

    #[test]
    fn what_go_leaves_out_or_writes_as_null_is_empty() {
        let pod = pod(&json!({
            "containers": null, "nodeName": "", "serviceAccountName": "api",
            "imagePullSecrets": [{ "name": "pull" }, {}],
        }));
        let facts = pod.facts("payments");
        assert!(facts.images.is_empty() && pod.node().is_none() && !pod.is_mirror());
        assert_eq!(facts.service_account, "api");
        assert_eq!(pod.spec.image_pull_secrets[0].name, "pull");
    }

    #[test]
    fn a_pod_that_is_written_otherwise_is_refused() {
        for wrong in [
            json!({ "metadata": {} }),
            json!({ "spec": null }),
            json!({ "spec": { "containers": {} } }),
            json!({ "spec": { "containers": [{ "image": "a" }] } }),
            json!({ "spec": { "containers": [{ "name": "c", "image": 7 }] } }),
            json!({ "spec": { "nodeName": ["a"] } }),
            json!({ "metadata": { "labels": { "a": 1 } }, "spec": {} }),
        ] {
            let read: Result<Pod, _> = serde_json::from_value(wrong.clone());
            assert!(read.is_err(), "{wrong}");
        }
    }
}
