//! The `images` part of a `WorkloadPolicy`: what the image of every container must be.

use serde::Deserialize;

use super::some_at_least_one;

/// Demands on the image of each container: ordinary, init and ephemeral ones, and images that are mounted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageDemands {
    /// What becomes of an image that is named by a tag.
    #[serde(default)]
    pub digests: Digests,
    /// Whether every layer must be encrypted, as the image's own manifest says.
    #[serde(default)]
    pub encrypted: bool,
    /// Whether its manifest must be in the register of images.
    #[serde(default)]
    pub registered: bool,
    /// How its name must begin, any of which is good; absent: wherever it is from.
    #[serde(default, deserialize_with = "some_at_least_one")]
    pub from: Option<Vec<ImagePrefix>>,
}

/// A tag names today one image and tomorrow another: what runs is always a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digests {
    /// It is refused.
    #[default]
    Required,
    /// The mutating webhook puts a digest in its place; where it did not, the image is refused.
    Resolved,
}

/// How the full name of an image begins: its registry in lower case, and whatever follows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ImagePrefix(String);

impl ImagePrefix {
    /// Whether `name`, registry and repository in full, begins so.
    #[must_use]
    pub fn begins(&self, name: &str) -> bool {
        name.starts_with(&self.0)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ImagePrefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (registry, path) = text.split_once('/').unwrap_or_default();
        let host =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:".contains(&byte);
        let below = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte)
        };
        // `registry.example` alone would be the beginning of `registry.example.org` too.
        let fits = !registry.is_empty() && registry.bytes().all(host) && path.bytes().all(below);
        if !fits {
            return Err(format!(
                "`{}` is not how the full name of an image begins; write the registry, a slash and what follows, as in \
                 `registry.example/payments/`",
                text.escape_debug()
            ));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_its_registry() {
        for good in [
            "registry.example/",
            "registry.example/payments/",
            "docker.io/library/nginx",
            "127.0.0.1:5000/a",
        ] {
            let prefix = ImagePrefix::try_from(good.to_owned()).unwrap();
            assert!(prefix.begins(good) && !prefix.begins("other.example/"));
        }
        for bad in [
            "",
            "/",
            "registry.example",
            "/payments",
            "Registry.example/",
            "registry.example/*",
            "[::1]:5000/a",
            "registry.example/Payments",
            "registry.example/payments:1",
        ] {
            let said = ImagePrefix::try_from(bad.to_owned()).unwrap_err();
            assert!(said.contains("as in `registry.example/payments/`"), "{bad}");
        }
    }
}
