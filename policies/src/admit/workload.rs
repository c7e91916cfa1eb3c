//! Workloads: the pods of one controller and one revision of it, wherever they run and however often they are made
//! anew. What the first of them was made of, the others are to be.

mod compared;

use serde::{Deserialize, Serialize};
use touchstone_evidence::finding::Finding;
use touchstone_evidence::oci_digest::OciDigest;

use super::pod::{ImageFacts, ImageUse, PodFacts, REFERENCE_MAX};
pub use compared::{changed, unlike_running};

/// Most findings about one pod: what else there is is told when these are mended.
const FINDINGS_MAX: usize = 16;
/// Most images of a pod that are kept.
const IMAGES_MAX: usize = 128;
/// Most bytes that the names of its containers and images may have together; a kept record is some times that.
const NAMES_MAX: usize = 32 << 10;
/// What stands for an image that is not there.
const NONE: &str = "no such image";

/// Whose pod it is, in the pod's own words: an API server lets whoever makes it name any controller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct Workload {
    /// `ReplicaSet`, `StatefulSet`, …; `Pod`: it has no controller.
    pub kind: String,
    /// Of the controller, or of the pod.
    pub name: String,
    /// Of the controller, or of the pod.
    pub uid: String,
    /// Which of the controller's templates it is made by; empty: it says nothing of that.
    pub revision: String,
}

/// The kind of a pod that is a workload by itself.
pub const ALONE: &str = "Pod";

impl Workload {
    /// Whether it is one pod, without a controller.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.kind == ALONE
    }
}

/// An image that a workload is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeOf {
    /// Name of the container, or of the volume.
    pub container: String,
    /// What it is there for.
    pub used: ImageUse,
    /// As the pod named it.
    pub reference: String,
    /// Of its manifest; `None`: it was named by a tag.
    pub digest: Option<OciDigest>,
}

impl MadeOf {
    fn of(image: &ImageFacts) -> Self {
        Self {
            container: image.container.clone(),
            used: image.used,
            reference: image.reference.clone(),
            digest: image.digest,
        }
    }

    fn is_in_place_of(&self, other: &Self) -> bool {
        (self.used, &*self.container) == (other.used, &*other.container)
    }

    /// Whether `now` is the same. Of one that was named by a tag it is known only what it was called.
    fn is(&self, now: &Self) -> bool {
        match self.digest {
            Some(_) => self.digest == now.digest,
            None => now.digest.is_some() || now.reference == self.reference,
        }
    }

    fn shown(&self) -> String {
        let digest = self.digest.map(|digest| digest.to_string());
        digest.unwrap_or_else(|| self.reference.clone())
    }

    fn finding(&self, code: &'static str) -> Finding {
        Finding::new(code).about(format_args!("{} `{}`", self.used, self.container))
    }
}

/// The images of `pod` that make up its workload. What is put into a pod while it runs is none of them.
pub fn parts(pod: &PodFacts) -> impl Iterator<Item = &ImageFacts> {
    let images = pod.images.iter();
    images.filter(|image| image.used != ImageUse::Ephemeral)
}

/// What `pod` is made of.
#[must_use]
pub fn made_of(pod: &PodFacts) -> Vec<MadeOf> {
    parts(pod).map(MadeOf::of).collect()
}

/// Why no workload can be made of `pod`.
#[must_use]
pub fn too_large(pod: &PodFacts) -> Option<Finding> {
    let mut images = pod.images.iter();
    if let Some(long) = images.find(|image| image.reference.len() > REFERENCE_MAX) {
        let finding = Finding::new("image-name-too-long").expected(REFERENCE_MAX);
        return Some(finding.about(format_args!("{} `{}`", long.used, long.container)));
    }
    let count = parts(pod).count();
    let names = parts(pod).map(|image| image.container.len().saturating_add(image.reference.len()));
    let bytes = names.fold(0, usize::saturating_add);
    let finding = || {
        Finding::new("workload-too-large")
            .expected(format_args!("{IMAGES_MAX} images of {NAMES_MAX} bytes"))
            .observed(format_args!("{count} images of {bytes} bytes"))
    };
    (count > IMAGES_MAX || bytes > NAMES_MAX).then(finding)
}

/// How `now` differs from what the workload was made of; empty: it is the same.
#[must_use]
pub fn changes(made: &[MadeOf], now: &[MadeOf]) -> Vec<Finding> {
    differences("workload-changed", made, now, MadeOf::is)
}

/// The same, each told by `code`, of whatever `is_same` does not take for the same.
fn differences(
    code: &'static str,
    made: &[MadeOf],
    now: &[MadeOf],
    is_same: impl Fn(&MadeOf, &MadeOf) -> bool,
) -> Vec<Finding> {
    let others = now.iter().filter_map(|now| {
        let before = made.iter().find(|made| made.is_in_place_of(now));
        let expected = match before {
            Some(before) if is_same(before, now) => return None,
            Some(before) => before.shown(),
            None => NONE.to_owned(),
        };
        let finding = now.finding(code).expected(expected);
        Some(finding.observed(&now.reference))
    });
    let missing = made
        .iter()
        .filter(|made| !now.iter().any(|now| made.is_in_place_of(now)))
        .map(|made| made.finding(code).expected(made.shown()).observed(NONE));
    others.chain(missing).take(FINDINGS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(used: ImageUse, container: &str, byte: Option<&str>) -> ImageFacts {
        let digest = byte.map(|byte| format!("sha256:{}", byte.repeat(32)));
        let reference = match &digest {
            Some(digest) => format!("r.example/a@{digest}"),
            None => "r.example/a:1".to_owned(),
        };
        ImageFacts {
            container: container.to_owned(),
            used,
            reference,
            name: None,
            digest: digest.map(|digest| digest.parse().unwrap()),
            encrypted: None,
            registered: None,
            signers: None,
        }
    }

    fn told(before: &[ImageFacts], after: &[ImageFacts]) -> Vec<String> {
        let [before, after] = [before, after].map(|images| {
            made_of(&PodFacts {
                images: images.to_vec(),
                ..PodFacts::default()
            })
        });
        changes(&before, &after)
            .into_iter()
            .map(|finding| {
                assert_eq!(finding.code, "workload-changed");
                finding.subject
            })
            .collect()
    }

    #[test]
    fn a_pod_is_the_same_if_each_of_its_images_is() {
        let (api, log) = (
            image(ImageUse::Ordinary, "api", Some("0a")),
            image(ImageUse::Init, "log", Some("0b")),
        );
        let both = [api.clone(), log.clone()];
        assert!(told(&both, &both).is_empty());
        assert!(told(&both, &[log.clone(), api.clone()]).is_empty());
        // Its name may be another one: mirrors hold the same.
        let mut mirrored = api.clone();
        mirrored.reference = format!("m.example/b@sha256:{}", "0a".repeat(32));
        assert!(told(&both, &[mirrored, log.clone()]).is_empty());
        let other = image(ImageUse::Ordinary, "api", Some("0c"));
        assert_eq!(told(&both, &[other, log.clone()]), ["container `api`"]);
        let tagged = image(ImageUse::Ordinary, "api", None);
        assert_eq!(told(&both, &[tagged, log.clone()]), ["container `api`"]);
        // One more, one less, and one that runs at another time.
        let more = image(ImageUse::Volume, "api", Some("0a"));
        assert_eq!(
            told(&both, &[api.clone(), log.clone(), more]),
            ["volume `api`"]
        );
        assert_eq!(
            told(&both, std::slice::from_ref(&api)),
            ["init container `log`"]
        );
        let early = image(ImageUse::Init, "api", Some("0a"));
        assert_eq!(
            told(&both, &[early, log]),
            ["init container `api`", "container `api`"]
        );
    }

    #[test]
    fn of_a_tag_only_its_name_is_known() {
        let tagged = [image(ImageUse::Ordinary, "api", None)];
        assert!(told(&tagged, &tagged).is_empty());
        let mut other = tagged.clone();
        "r.example/a:2".clone_into(&mut other[0].reference);
        assert_eq!(told(&tagged, &other), ["container `api`"]);
        let pinned = [image(ImageUse::Ordinary, "api", Some("0a"))];
        assert!(told(&tagged, &pinned).is_empty());
    }

    #[test]
    fn what_is_put_into_a_running_pod_is_none_of_its_workload() {
        let api = image(ImageUse::Ordinary, "api", Some("0a"));
        let debug = image(ImageUse::Ephemeral, "debug", Some("0b"));
        assert!(told(std::slice::from_ref(&api), &[api.clone(), debug]).is_empty());
    }

    #[test]
    fn a_name_that_nobody_pulls_by_makes_no_workload_in_whichever_container() {
        for used in [ImageUse::Ordinary, ImageUse::Ephemeral, ImageUse::Volume] {
            for (length, code) in [
                (REFERENCE_MAX, None),
                (REFERENCE_MAX + 1, Some("image-name-too-long")),
            ] {
                let mut long = image(used, "api", None);
                long.reference = "a".repeat(length);
                let pod = PodFacts {
                    images: vec![long],
                    ..PodFacts::default()
                };
                let found = too_large(&pod).map(|finding| finding.code);
                assert_eq!(found.as_deref(), code, "{used} {length}");
            }
        }
    }

    #[test]
    fn a_pod_of_a_thousand_images_is_too_large_and_told_little_of() {
        let many = |count: usize| -> Vec<ImageFacts> {
            let one = |number: usize| image(ImageUse::Ordinary, &number.to_string(), None);
            (0..count).map(one).collect()
        };
        assert_eq!(told(&[], &many(1000)).len(), FINDINGS_MAX);
        for (count, large) in [(IMAGES_MAX, false), (IMAGES_MAX + 1, true)] {
            let pod = PodFacts {
                images: many(count),
                ..PodFacts::default()
            };
            assert_eq!(too_large(&pod).is_some(), large);
        }
        // Fewer with long names are as much.
        for (count, large) in [(32, false), (33, true)] {
            let mut images = many(count);
            for image in &mut images {
                image.container = "c".repeat(24);
                image.reference = "r".repeat(1000);
            }
            let pod = PodFacts {
                images,
                ..PodFacts::default()
            };
            assert_eq!(too_large(&pod).is_some(), large, "{count}");
        }
    }
}
