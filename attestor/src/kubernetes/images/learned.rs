//! What one review learned of images, and what follows of an index from what is known of its manifests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use touchstone_evidence::oci_digest::OciDigest;
use touchstone_kubernetes::image::ImageName;

use super::Content;

/// Most manifests of its indexes.
const PARTS_MAX: usize = 256;

/// What one review learned.
#[derive(Default)]
pub(super) struct Learned {
    pub(super) registered: HashMap<OciDigest, bool>,
    pub(super) contents: HashMap<OciDigest, Content>,
}

impl Learned {
    /// Manifests of the indexes among `names`, each to be found where its index is. Of those beyond [`PARTS_MAX`] nothing
    /// becomes known, so that their indexes are not either; the log says so.
    pub(super) fn parts(
        &self,
        names: &BTreeMap<OciDigest, ImageName>,
    ) -> BTreeMap<OciDigest, ImageName> {
        let indexes = names.iter().filter_map(|(digest, name)| {
            let Some(Content::Index(parts)) = self.contents.get(digest) else {
                return None;
            };
            Some(parts.iter().map(move |part| (*part, name.clone())))
        });
        let mut all: BTreeMap<OciDigest, ImageName> = indexes.flatten().collect();
        if let Some(rest) = all.keys().nth(PARTS_MAX).copied() {
            let left = all.split_off(&rest);
            for name in left.values().map(ImageName::full).collect::<BTreeSet<_>>() {
                tracing::warn!(
                    image = %name,
                    "the indexes of a pod's images name more than {PARTS_MAX} manifests; some of this one were not looked at"
                );
            }
        }
        all
    }

    /// Whether it is encrypted, and whether it is registered. An index is what each of its manifests is: which of them
    /// runs, the node decides.
    pub(super) fn state(&self, digest: &OciDigest) -> (Option<bool>, Option<bool>) {
        if let Some(encrypted) = self.registered.get(digest) {
            return (Some(*encrypted), Some(true));
        }
        match self.contents.get(digest) {
            None => (None, None),
            Some(Content::Image(known)) => (Some(known.encrypted), Some(false)),
            Some(Content::Index(parts)) if parts.is_empty() => (Some(false), Some(false)),
            Some(Content::Index(parts)) => {
                let encrypted = every(parts.iter().map(|part| self.is_encrypted(part)));
                let registered = |part| self.registered.contains_key(part);
                (encrypted, Some(parts.iter().all(registered)))
            }
        }
    }

    /// Whether one image is encrypted; an index within an index is none.
    fn is_encrypted(&self, digest: &OciDigest) -> Option<bool> {
        let registered = self.registered.get(digest).copied();
        registered.or_else(|| match self.contents.get(digest)? {
            Content::Image(known) => Some(known.encrypted),
            Content::Index(_) => None,
        })
    }
}

/// Whether it is so of all: not, where it is not so of one, whatever is unknown of the others.
fn every(mut all: impl Iterator<Item = Option<bool>> + Clone) -> Option<bool> {
    match all.clone().any(|one| one == Some(false)) {
        true => Some(false),
        false => all.all(|one| one == Some(true)).then_some(true),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::sync::Arc;

    use touchstone_evidence::digest::Sha256Digest;

    use super::super::Known;
    use super::*;

    fn digest(text: &str) -> OciDigest {
        OciDigest(Sha256Digest::of(text.as_bytes()))
    }

    fn learned(registered: &[(&str, bool)], images: &[(&str, bool)], index: &[&str]) -> Learned {
        let mut learned = Learned::default();
        for (name, encrypted) in registered {
            learned.registered.insert(digest(name), *encrypted);
        }
        for (name, encrypted) in images {
            let known = Known {
                config: digest("config"),
                layers: Vec::new(),
                encrypted: *encrypted,
                publisher: None,
            };
            learned
                .contents
                .insert(digest(name), Content::Image(Arc::new(known)));
        }
        let parts = index.iter().map(|name| digest(name)).collect();
        learned
            .contents
            .insert(digest("index"), Content::Index(parts));
        learned
    }

    #[test]
    fn an_index_is_what_each_of_its_manifests_is() {
        let of_index = |registered: &[(&str, bool)], images: &[(&str, bool)]| {
            learned(registered, images, &["a", "b"]).state(&digest("index"))
        };
        let yes = Some(true);
        let no = Some(false);
        assert_eq!(of_index(&[("a", true), ("b", true)], &[]), (yes, yes));
        assert_eq!(of_index(&[("a", true)], &[("b", true)]), (yes, no));
        assert_eq!(of_index(&[("a", true)], &[("b", false)]), (no, no));
        assert_eq!(of_index(&[("a", false), ("b", true)], &[]), (no, yes));
        // Of one nothing is known.
        assert_eq!(of_index(&[], &[("a", true)]), (None, no));
        assert_eq!(of_index(&[], &[("a", false)]), (no, no));
        let empty = learned(&[], &[], &[]);
        assert_eq!(empty.state(&digest("index")), (no, no));
        let nested = learned(&[], &[("a", true)], &["a", "index"]);
        assert_eq!(nested.state(&digest("index")), (None, no));
    }

    #[test]
    fn of_indexes_some_manifests_are_looked_at_and_the_same_ones_each_time() {
        let parts: Vec<String> = (0..PARTS_MAX + 3)
            .map(|number| number.to_string())
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let learned = learned(&[], &[], &parts);
        let name = ImageName::parse("r.example/a").unwrap();
        let looked_at = learned.parts(&[(digest("index"), name)].into());
        assert_eq!(looked_at.len(), PARTS_MAX);
        let mut all: Vec<OciDigest> = parts.iter().map(|part| digest(part)).collect();
        all.sort_unstable();
        assert!(looked_at.keys().eq(&all[..PARTS_MAX]));
    }

    #[test]
    fn an_image_that_nobody_knows_is_unknown() {
        let learned = learned(&[("a", true)], &[("b", true)], &[]);
        assert_eq!(learned.state(&digest("a")), (Some(true), Some(true)));
        assert_eq!(learned.state(&digest("b")), (Some(true), Some(false)));
        assert_eq!(learned.state(&digest("c")), (None, None));
    }
}
