//! Names that an annotation binds: of the attestor's key, and of the policy that releases it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::label::{is_label, shown};

/// How a key of encrypted layers is called: 1 to 63 of `a-z 0-9 - .`, letters or digits at both ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

/// Text that cannot name a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot name a key: use 1 to 63 of a-z, 0-9, `-` and `.`, letters or digits at both ends"
)]
pub struct NotAKeyName(String);

/// How a policy manifest is called: 1 to 253 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyName(String);

/// Text that cannot name a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a policy's name has 1 to 253 bytes and no control characters")]
pub struct NotAPolicyName;

impl KeyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = NotAKeyName;

    fn from_str(text: &str) -> Result<Self, NotAKeyName> {
        match is_label(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAKeyName(shown(text))),
        }
    }
}

impl PolicyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PolicyName {
    type Err = NotAPolicyName;

    fn from_str(text: &str) -> Result<Self, NotAPolicyName> {
        match (1..=253).contains(&text.len()) && !text.chars().any(char::is_control) {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAPolicyName),
        }
    }
}

impl TryFrom<String> for KeyName {
    type Error = NotAKeyName;

    fn try_from(text: String) -> Result<Self, NotAKeyName> {
        text.parse()
    }
}

impl TryFrom<String> for PolicyName {
    type Error = NotAPolicyName;

    fn try_from(text: String) -> Result<Self, NotAPolicyName> {
        text.parse()
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

impl From<PolicyName> for String {
    fn from(name: PolicyName) -> Self {
        name.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_a_path_and_a_line() {
        for name in ["payments", "p", "eu-west.1", &"a".repeat(63)] {
            assert!(name.parse::<KeyName>().is_ok(), "{name}");
        }
        for name in ["", "-a", "a.", "Pay", "a/b", "a\n", "ä", &"a".repeat(64)] {
            assert!(name.parse::<KeyName>().is_err(), "{name}");
        }
        for name in ["Payments in the EU", &"a".repeat(253)] {
            assert!(name.parse::<PolicyName>().is_ok(), "{name}");
        }
        for name in ["", "a\nb", &"a".repeat(254)] {
            assert!(name.parse::<PolicyName>().is_err(), "{name}");
        }
    }
}
