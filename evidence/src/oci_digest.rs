//! A digest as OCI registries write it: `sha256:` and 64 lower-case hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::digest::Sha256Digest;

const PREFIX: &str = "sha256:";

/// The digest of a manifest, a config or a layer (OCI image-spec, descriptor: digests).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct OciDigest(pub Sha256Digest);

/// Text that is no such digest; other algorithms are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no image digest: `sha256:` and 64 lower-case hexadecimal digits are expected")]
pub struct NotAnOciDigest(String);

impl FromStr for OciDigest {
    type Err = NotAnOciDigest;

    fn from_str(text: &str) -> Result<Self, NotAnOciDigest> {
        let digits = text.strip_prefix(PREFIX);
        // One digest has one text: upper case would be another to whoever compares texts.
        let digits = digits.filter(|digits| !digits.bytes().any(|byte| byte.is_ascii_uppercase()));
        digits
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| {
                let shown: String = text.chars().take(80).collect();
                NotAnOciDigest(shown.escape_debug().to_string())
            })
    }
}

impl TryFrom<String> for OciDigest {
    type Error = NotAnOciDigest;

    fn try_from(text: String) -> Result<Self, NotAnOciDigest> {
        text.parse()
    }
}

impl fmt::Display for OciDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}{}", self.0)
    }
}

impl Serialize for OciDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_digest_has_one_text() {
        let text = format!("sha256:{}", "0a".repeat(32));
        let digest: OciDigest = text.parse().unwrap();
        assert_eq!(digest.to_string(), text);
        for wrong in [
            "",
            "sha256:",
            &"0a".repeat(32),
            &text.to_uppercase(),
            &format!("sha256:{}", "0A".repeat(32)),
            &format!("sha512:{}", "0a".repeat(64)),
            &format!("{text} "),
        ] {
            assert!(wrong.parse::<OciDigest>().is_err(), "{wrong}");
        }
    }
}
