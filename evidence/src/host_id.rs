//! The name of a host: given by the inventory, never chosen by the machine itself.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::label::{is_label, shown};

/// 1 to 63 characters of `a-z 0-9 - .`, beginning and ending with a letter or digit.
///
/// Copies share the text: a server holds each name in several places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct HostId(Arc<str>);

/// Text that cannot name a host.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` cannot name a host: use 1 to 63 of a-z, 0-9, `-` and `.`, letters or digits at both ends"
)]
pub struct NotAHostId(String);

impl HostId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostId {
    type Err = NotAHostId;

    fn from_str(text: &str) -> Result<Self, NotAHostId> {
        match is_label(text) {
            true => Ok(Self(text.into())),
            false => Err(NotAHostId(shown(text))),
        }
    }
}

impl TryFrom<String> for HostId {
    type Error = NotAHostId;

    fn try_from(text: String) -> Result<Self, NotAHostId> {
        text.parse()
    }
}

impl Serialize for HostId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<HostId> for String {
    fn from(id: HostId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_mislead_are_refused() {
        for good in ["a", "de-1", "worker-3.fra.example", &"x".repeat(63)] {
            assert_eq!(
                good.parse::<HostId>().map(String::from),
                Ok(good.to_owned())
            );
        }
        let long = "x".repeat(64);
        for bad in [
            "", "-a", "a.", "A", "../x", "a/b", "a\r\nb", "dе-1", "a b", "a_b", &long,
        ] {
            assert!(bad.parse::<HostId>().is_err(), "{bad:?}");
        }
    }
}
