//! What a cluster is called: names of nodes, namespaces and workloads mean something within one cluster alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest label of a DNS name (RFC 1123).
const LENGTH_MAX: usize = 63;
/// What a cluster is called where nobody named it.
const UNNAMED: &str = "default";

/// Name of a cluster: a DNS label, `default` where nobody named it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

/// It is no DNS label.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no name of a cluster; take up to 63 lower-case letters, digits and hyphens, none of them a hyphen at either end"
)]
pub struct ClusterNameError(String);

impl ClusterName {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nobody named it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == UNNAMED
    }

    /// What something of this cluster is called among all clusters: `NAME`, or `CLUSTER/NAME` where it was named. No name
    /// of an object has a stroke in it.
    #[must_use]
    pub fn qualify(&self, name: &str) -> String {
        match self.is_default() {
            true => name.to_owned(),
            false => format!("{self}/{name}"),
        }
    }
}

impl Default for ClusterName {
    fn default() -> Self {
        Self(UNNAMED.to_owned())
    }
}

impl FromStr for ClusterName {
    type Err = ClusterNameError;

    fn from_str(text: &str) -> Result<Self, ClusterNameError> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = (1..=LENGTH_MAX).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        match is_label {
            true => Ok(Self(text.to_owned())),
            false => Err(ClusterNameError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ClusterName {
    type Error = ClusterNameError;

    fn try_from(text: String) -> Result<Self, ClusterNameError> {
        text.parse()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn a_cluster_is_called_by_a_dns_label() {
        let longest = "a".repeat(63);
        for good in ["default", "a", "0", "eu-west-1", &longest] {
            assert_eq!(good.parse::<ClusterName>().unwrap().as_str(), good);
        }
        let longer = "a".repeat(64);
        for wrong in ["", "-a", "a-", "A", "a.b", "a/b", "a b", "ä", &longer] {
            assert!(wrong.parse::<ClusterName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_of_a_named_cluster_says_so() {
        let west: ClusterName = "west".parse().unwrap();
        assert_eq!(west.qualify("worker-1"), "west/worker-1");
        assert_eq!(ClusterName::default().qualify("worker-1"), "worker-1");
    }
}
