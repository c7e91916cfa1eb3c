//! The digest of an endorsement key as people type it: whole, or its first digits as lists show them.

use std::str::FromStr;

use anyhow::{Context as _, bail};
use serde_json::Value;
use touchstone_evidence::digest::Sha256Digest;

use crate::console::answers::items;
use crate::console::client::Client;
use crate::console::output::text;

/// Fewest digits: what a person may type and still mean one key.
const DIGITS_MIN: usize = 8;

/// 8 to 64 hexadecimal digits, lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EkPrefix(String);

impl FromStr for EkPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shaped = (DIGITS_MIN..=64).contains(&text.len());
        match shaped && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(format!(
                "give {DIGITS_MIN} to 64 hexadecimal digits, as `host quarantine list` shows them"
            )),
        }
    }
}

impl EkPrefix {
    /// The key that is meant. A whole digest is nobody else's, so that the attestor answers for it.
    pub(super) async fn resolve(&self, client: &Client) -> anyhow::Result<Sha256Digest> {
        match self.0.parse() {
            Ok(digest) => Ok(digest),
            Err(_) => self.pick(&client.get("/v1/quarantine").await?),
        }
    }

    fn pick(&self, answer: &Value) -> anyhow::Result<Sha256Digest> {
        let mut meant = items(answer, "quarantine")
            .map(|one| text(one, "ek_digest"))
            .filter(|digest| digest.starts_with(&self.0));
        let digest = meant.next().with_context(|| {
            format!(
                "no TPM in quarantine has an endorsement key that begins with `{}`; see `touchstone host \
                 quarantine list`",
                self.0
            )
        })?;
        if meant.next().is_some() {
            bail!(
                "several TPMs in quarantine have an endorsement key that begins with `{}`; give more digits \
                 of it, or all as `touchstone host quarantine list --json` shows them",
                self.0
            );
        }
        Ok(digest.parse()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    fn prefix(text: &str) -> EkPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_means_one_key_or_none() {
        let (first, second) = ("ab".repeat(32), format!("{}cd", "ab".repeat(31)));
        let answer = json!({ "quarantine": [{ "ek_digest": first }, { "ek_digest": second }] });
        let one = json!({ "quarantine": [{ "ek_digest": first }] });
        let picked = prefix("ABABABAB").pick(&one).unwrap();
        assert_eq!(picked.to_string(), first);
        let said = prefix("abababab").pick(&answer).unwrap_err().to_string();
        assert!(said.contains("several TPMs"), "{said}");
        let said = prefix("cdcdcdcd").pick(&answer).unwrap_err().to_string();
        assert!(said.contains("no TPM in quarantine"), "{said}");
        let more = format!("{}c", "ab".repeat(31));
        assert_eq!(prefix(&more).pick(&answer).unwrap().to_string(), second);
    }

    #[test]
    fn too_few_digits_are_no_prefix() {
        for wrong in ["", "ababab", "abababag", &"a".repeat(65)] {
            assert!(wrong.parse::<EkPrefix>().is_err(), "{wrong}");
        }
    }
}
