//! What a cluster is called: names of nodes, namespaces and workloads mean something within one cluster alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::object_name::{is_label, shown};

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
        match is_label(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(ClusterNameError(shown(text))),
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
        assert_eq!(
            "eu-west-1".parse::<ClusterName>().unwrap().as_str(),
            "eu-west-1"
        );
        let refused = "a.b\n".parse::<ClusterName>().unwrap_err().to_string();
        assert!(
            refused.starts_with("`a.b\\n` is no name of a cluster"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_of_a_named_cluster_says_so() {
        let west: ClusterName = "west".parse().unwrap();
        assert_eq!(west.qualify("worker-1"), "west/worker-1");
        assert_eq!(ClusterName::default().qualify("worker-1"), "worker-1");
    }
}
