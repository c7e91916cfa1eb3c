//! The `images` part of a `WorkloadPolicy`: what the image of every container must be.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use touchstone_evidence::publisher::PublisherKey;

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
    /// Keys, any of which must have signed its manifest as cosign does; absent: nobody must have.
    #[serde(rename = "signedBy", default, deserialize_with = "few_keys")]
    pub signed_by: Option<Vec<PublisherKey>>,
}

/// Most keys of one policy: each signature is tried with each.
const KEYS_MAX: usize = 8;

fn few_keys<'de, D>(deserializer: D) -> Result<Option<Vec<PublisherKey>>, D::Error>
where
    D: Deserializer<'de>,
{
    let keys = some_at_least_one(deserializer)?;
    let many = keys.as_ref().is_some_and(|keys| keys.len() > KEYS_MAX);
    match many {
        true => Err(D::Error::custom(format_args!(
            "at most {KEYS_MAX} keys stand here; name those that are in use"
        ))),
        false => Ok(keys),
    }
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
    fn keys_are_few_and_readable() {
        let key = "MCowBQYDK2VwAyEAR7zPrUV8jOKiIcgpmCoksMGSgTjgBcYEf7ilQO7qtWc=";
        let read = |keys: &[&str]| {
            let keys = keys.iter().map(|key| format!("'{key}'"));
            let keys: Vec<String> = keys.collect();
            let demands = format!("{{signedBy: [{}]}}", keys.join(", "));
            let demands: Result<ImageDemands, _> = serde_saphyr::from_str(&demands);
            demands
                .map(|demands| demands.signed_by.unwrap().len())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(&[key; KEYS_MAX]), Ok(KEYS_MAX));
        let said = read(&[key; KEYS_MAX + 1]).unwrap_err();
        assert!(said.contains("at most 8 keys"), "{said}");
        assert!(read(&[]).is_err());
        let said = read(&["cosign.pub"]).unwrap_err();
        assert!(said.contains("as PEM"), "{said}");
    }

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
