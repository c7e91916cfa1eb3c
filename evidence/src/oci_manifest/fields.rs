//! Fields that runtimes take for others. Go's `encoding/json` compares names without case and takes the last of
//! several, so that one text says one thing here and another thing on the node.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::ManifestError;

/// Names of the fields of an object.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Fields(BTreeMap<String, IgnoredAny>);

impl Fields {
    /// None of them is one of `known` in another case.
    pub(super) fn check(&self, known: &[&str]) -> Result<(), ManifestError> {
        let twin = |name: &&String| {
            let alike = |known: &&str| folded(known) == folded(name);
            !known.contains(&name.as_str()) && known.iter().any(alike)
        };
        match self.0.keys().find(twin) {
            Some(name) => Err(ManifestError::Ambiguous(name.chars().take(80).collect())),
            None => Ok(()),
        }
    }
}

/// As Go folds: also the Kelvin sign is a k, and the long s an s.
fn folded(name: &str) -> String {
    name.to_lowercase().to_uppercase()
}
