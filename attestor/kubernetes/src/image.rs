//! Names of images as container runtimes read them (distribution's `reference`), so that policy and the node mean the
//! same image by one text.

use oci_client::Reference;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_policies::admit::REFERENCE_MAX;

/// The port that is meant where a registry names none.
const DEFAULT_PORT: &str = ":443";

/// A name that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    reference: Reference,
}

impl ImageName {
    /// Reads a name; `None`: no runtime would pull by it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Whoever names an image has us read it, again and again: a name of a megabyte would take the reader seconds.
        let text = (text.len() <= REFERENCE_MAX).then_some(text)?;
        let reference = text.parse().ok()?;
        Some(Self { reference })
    }

    /// Registry and repository in full. One image has one such name: hosts are compared without case, Docker's are
    /// `docker.io/…`, and its own are in `library/`.
    #[must_use]
    pub fn full(&self) -> String {
        let registry = self.reference.registry().to_ascii_lowercase();
        let registry = registry.strip_suffix(DEFAULT_PORT).unwrap_or(&registry);
        format!("{registry}/{}", self.reference.repository())
    }

    /// The manifest that it names; `None`: a tag, or a digest that is not SHA-256. Beside a digest a tag says nothing.
    #[must_use]
    pub fn digest(&self) -> Option<OciDigest> {
        self.reference.digest()?.parse().ok()
    }

    /// As clients of registries take it.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn one_image_has_one_full_name() {
        for (text, full) in [
            ("nginx", "docker.io/library/nginx"),
            ("docker.io/nginx:1", "docker.io/library/nginx"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx"),
            ("payments/api", "docker.io/payments/api"),
            ("localhost/api", "localhost/api"),
            (
                "REGISTRY.example:443/payments/api:1",
                "registry.example/payments/api",
            ),
            (
                "registry.example:5000/payments/api",
                "registry.example:5000/payments/api",
            ),
        ] {
            assert_eq!(ImageName::parse(text).unwrap().full(), full, "{text}");
        }
    }

    #[test]
    fn a_digest_is_that_of_the_manifest_and_a_tag_beside_it_says_nothing() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let read = |text: &str| ImageName::parse(text).and_then(|name| name.digest());
        for text in [
            format!("registry.example/a@{digest}"),
            format!("registry.example/a:1@{digest}"),
        ] {
            assert_eq!(read(&text).unwrap().to_string(), digest);
        }
        let other = format!("registry.example/a@sha512:{}", "0a".repeat(64));
        for text in ["registry.example/a", "registry.example/a:1", &other] {
            assert!(ImageName::parse(text).is_some() && read(text).is_none());
        }
    }

    #[test]
    fn what_no_runtime_would_pull_is_no_name() {
        for text in [
            "",
            "registry.example/Payments",
            "registry.example/a@sha256:0",
            "registry.example/../a",
            " registry.example/a",
            "registry.example./a/",
            "https://registry.example/a",
        ] {
            assert_eq!(ImageName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_of_megabytes_is_none_and_is_not_read_for_that() {
        let named = |length: usize| format!("registry.example/{}", "a/".repeat(length));
        assert!(ImageName::parse(&format!("{}a", named(100))).is_some());
        let long = format!("{}a", named(1_400_000));
        let begun = Instant::now();
        for _ in 0..1000 {
            assert_eq!(ImageName::parse(&long), None);
        }
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
