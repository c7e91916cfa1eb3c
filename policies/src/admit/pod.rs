//! What policy looks at in a pod, and which pods a `WorkloadPolicy` is for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::publisher::SignedImage;

use super::workload::Workload;
use crate::manifest::{ImagePrefix, PodHalf};

/// Longest reference of an image, bytes: names are of 255 characters (OCI Distribution 1.1, "Pulling manifests"), tags of
/// 128, and the longest digest, a SHA-512, of 135. What is longer, nobody reads or pulls by.
pub const REFERENCE_MAX: usize = 1024;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The service account that it runs as.
    pub service_account: String,
    /// The image of each container, and those that are mounted.
    pub images: Vec<ImageFacts>,
    /// Whose pod it is; `None`: nobody said.
    pub workload: Option<Workload>,
    /// Names of secrets with credentials for the registries of its images. Policy does not look at them.
    pub pull_secrets: Vec<String>,
    /// What it tolerates of that which keeps pods from hosts that are not trusted, in words; `None`: nothing.
    pub tolerates: Option<String>,
}

/// An image of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// Name of the container, or of the volume that it is mounted as.
    pub container: String,
    /// What it is there for.
    pub used: ImageUse,
    /// As the pod names it.
    pub reference: String,
    /// Registry and repository in full, the registry in lower case: `docker.io/library/nginx`; `None`: the reference
    /// cannot be read, so nobody knows what it names.
    pub name: Option<String>,
    /// SHA-256 of the manifest that the reference names; `None`: it names a tag, or something else.
    pub digest: Option<OciDigest>,
    /// Whether every layer is encrypted, by its own manifest; `None`: not known.
    pub encrypted: Option<bool>,
    /// Whether its manifest is in the register of images; `None`: not known.
    pub registered: Option<bool>,
    /// What holders of keys of policies signed of it; `None`: not known.
    pub signers: Option<Vec<SignedImage>>,
}

/// What an image is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageUse {
    /// A container.
    Ordinary,
    /// An init container; one that is started again and again is a sidecar.
    Init,
    /// A container that is put into a pod that runs.
    Ephemeral,
    /// It is mounted into containers.
    Volume,
}

impl fmt::Display for ImageUse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ordinary => "container",
            Self::Init => "init container",
            Self::Ephemeral => "ephemeral container",
            Self::Volume => "volume",
        })
    }
}

impl PodFacts {
    /// Whether `half` selects this pod.
    pub(super) fn is_meant_by(&self, half: &PodHalf) -> bool {
        let mut labels = half.labels.iter();
        half.namespaces.contains(&self.namespace)
            && labels.all(|(key, value)| self.labels.get(key) == Some(value))
            && half
                .service_accounts
                .as_ref()
                .is_none_or(|names| names.contains(&self.service_account))
            && half
                .images
                .as_ref()
                .is_none_or(|prefixes| self.images.iter().any(|image| image.is_meant_by(prefixes)))
    }
}

impl ImageFacts {
    /// Whether one of `prefixes` selects it. What cannot be read is meant if it merely looks so.
    fn is_meant_by(&self, prefixes: &[ImagePrefix]) -> bool {
        let name = self.name.as_deref().unwrap_or(&self.reference);
        prefixes.iter().any(|prefix| prefix.begins(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::selecting;
    use crate::manifest::PolicySet;

    fn image(used: ImageUse, name: &str) -> ImageFacts {
        ImageFacts {
            container: "c".to_owned(),
            used,
            reference: name.to_owned(),
            name: Some(name.to_owned()),
            digest: None,
            encrypted: None,
            registered: None,
            signers: None,
        }
    }

    #[test]
    fn all_that_a_pod_half_names_must_match() {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [a], labels: {app: x}, serviceAccounts: [api, job], images: [r.example/p/, s.example/]},\
             host: {tier: affirming}}\n";
        let policies = PolicySet::parse(manifest).unwrap();
        let meant = PodFacts {
            namespace: "a".to_owned(),
            labels: [("app".to_owned(), "x".to_owned())].into(),
            service_account: "job".to_owned(),
            images: vec![
                image(ImageUse::Ordinary, "other.example/a"),
                image(ImageUse::Init, "r.example/p/a"),
            ],
            workload: None,
            pull_secrets: Vec::new(),
            tolerates: None,
        };
        let is_meant = |pod: &PodFacts| selecting(&policies, pod).count() == 1;
        assert!(is_meant(&meant));
        let mut unreadable = meant.clone();
        unreadable.images[1].name = None;
        assert!(is_meant(&unreadable));
        for change in [
            |pod: &mut PodFacts| pod.namespace = "b".to_owned(),
            |pod: &mut PodFacts| pod.labels.clear(),
            |pod: &mut PodFacts| pod.service_account = "default".to_owned(),
            |pod: &mut PodFacts| pod.images.truncate(1),
            |pod: &mut PodFacts| pod.images[1].name = Some("r.example/q".to_owned()),
        ] {
            let mut other = meant.clone();
            change(&mut other);
            assert!(!is_meant(&other), "{other:?}");
        }
    }

    #[test]
    fn an_image_is_looked_at_whatever_it_is_there_for() {
        let manifest = "apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata: {name: w}\n\
             spec: {pod: {namespaces: [a], images: [r.example/p/]}, host: {tier: affirming}}\n";
        let policies = PolicySet::parse(manifest).unwrap();
        for used in [
            ImageUse::Ordinary,
            ImageUse::Init,
            ImageUse::Ephemeral,
            ImageUse::Volume,
        ] {
            let pod = PodFacts {
                namespace: "a".to_owned(),
                images: vec![image(used, "r.example/p/a")],
                ..PodFacts::default()
            };
            assert_eq!(selecting(&policies, &pod).count(), 1, "{used}");
        }
    }
}
