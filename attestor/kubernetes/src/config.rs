//! The settings of a cluster: a TOML file, each key documented for the operator.

mod names;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cluster_name::ClusterName;
pub use names::NameError;

/// What `touchstone serve --kubernetes FILE` reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// What the cluster is called: nodes and workloads of one are nothing in another.
    pub cluster: ClusterName,
    /// How the API server is reached; absent: the service account of the pod that this process runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the Lease that names the replica which writes to nodes.
    pub namespace: String,
    /// Name of our `ValidatingWebhookConfiguration` and `MutatingWebhookConfiguration`, which are watched.
    pub webhooks: String,
    /// Who we are to the API server, and so the only one who may touch our marks on nodes; absent: the service account
    /// `touchstone` of the namespace.
    pub account: Option<String>,
    /// For whom an agent's service account token must be made.
    pub audience: String,
    /// The service account of agents: a token of another one proves no node; absent: `touchstone-agent` of the namespace.
    pub agent: Option<String>,
    /// Which nodes are tainted.
    pub taints: Taints,
    /// Whether an untrusted node loses its pods too (`NoExecute`), not only new ones (`NoSchedule`).
    pub execute: bool,
    /// Seconds between a host's turn and the end of its pods.
    pub grace_seconds: u64,
    /// Seconds that a host has after a reboot to prove itself, before its pods end: its agent must start, and its first round
    /// may answer a challenge from before.
    pub reboot_grace_seconds: u64,
    /// When more than this share of the mapped nodes would lose their pods at once, none does: percent.
    pub breaker_percent: usize,
    /// Where policy manifests come from: `bundle`, as they are applied to the attestor, or `objects` of the cluster.
    pub policies: PolicySource,
    /// What registries may be shown of the cluster.
    pub registries: Registries,
}

/// What registries may be shown of the cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Registries {
    /// Namespaces whose pods' pull secrets are read when a registry asks for a credential; none without it.
    pub pull_secrets: Vec<String>,
}

/// Where policy manifests come from. Never from both: whoever reads one of them would not know what is in force.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum PolicySource {
    /// As officers apply them to the attestor.
    #[default]
    Bundle,
    /// Objects of the cluster, of the kinds that manifests have.
    Objects,
}

/// The three switches.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Taints {
    /// Nodes that no host stands behind, or whose host was not appraised yet. For clusters whose every node attests:
    /// nothing that does not tolerate the taint starts there before.
    pub new: bool,
    /// Nodes whose host began a boot that was not appraised yet.
    pub rebooted: bool,
    /// Nodes whose host is not trusted, or no longer.
    pub untrusted: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: ClusterName::default(),
            kubeconfig: None,
            namespace: "touchstone".to_owned(),
            webhooks: "touchstone".to_owned(),
            account: None,
            audience: "touchstone".to_owned(),
            agent: None,
            taints: Taints::default(),
            execute: true,
            grace_seconds: 10,
            reboot_grace_seconds: 300,
            breaker_percent: 50,
            policies: PolicySource::Bundle,
            registries: Registries::default(),
        }
    }
}

impl Default for Taints {
    fn default() -> Self {
        Self {
            new: false,
            rebooted: true,
            untrusted: true,
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such file, or not ours to read.
    #[error("`{path}` cannot be read")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says something that is not known, or not what is meant there.
    #[error("`{path}` is not understood; docs/operators/kubernetes.md lists what it may say")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        source: toml::de::Error,
    },
    /// A share of more than all.
    #[error("`breaker-percent = {0}` is more than all nodes; say 0 to 100")]
    Breaker(usize),
    /// Without it any token would do.
    #[error("`audience` is empty; name what the agents' tokens are projected for")]
    Audience,
    /// A name that nothing can have.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Config {
    /// Who we are to the API server.
    #[must_use]
    pub fn account(&self) -> String {
        let named = self.account.clone();
        named.unwrap_or_else(|| format!("system:serviceaccount:{}:touchstone", self.namespace))
    }

    /// The service account of agents.
    #[must_use]
    pub fn agent(&self) -> String {
        let named = self.agent.clone();
        named
            .unwrap_or_else(|| format!("system:serviceaccount:{}:touchstone-agent", self.namespace))
    }

    /// Reads the settings from `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = toml::from_str(&text).map_err(|source| ConfigError::Malformed {
            path: path.to_owned(),
            source,
        })?;
        if config.breaker_percent > 100 {
            return Err(ConfigError::Breaker(config.breaker_percent));
        }
        if config.audience.is_empty() {
            return Err(ConfigError::Audience);
        }
        names::check(&config)?;
        Ok(config)
    }

    /// Where the agents' pods are: a service account is used in its own namespace alone.
    pub(crate) fn agents_namespace(&self) -> Option<&str> {
        let Some(agent) = &self.agent else {
            return Some(&self.namespace);
        };
        let (namespace, _) = names::service_account(agent)?;
        Some(namespace)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubernetes.toml");
        std::fs::write(&file, text).unwrap();
        Config::read(&file)
    }

    #[test]
    fn hosts_that_fell_are_tainted_and_new_nodes_are_not_unless_it_is_said() {
        let config = read("").unwrap();
        let taints = config.taints;
        assert!(config.execute && !taints.new && taints.rebooted && taints.untrusted);
        let config = read("[taints]\nnew = true\n").unwrap();
        assert!(config.taints.new && config.taints.untrusted);
    }

    #[test]
    fn accounts_are_those_of_the_namespace_unless_they_are_named() {
        let config = read("namespace = 'security'").unwrap();
        assert_eq!(
            config.account(),
            "system:serviceaccount:security:touchstone"
        );
        assert_eq!(
            config.agent(),
            "system:serviceaccount:security:touchstone-agent"
        );
        assert_eq!(config.agents_namespace(), Some("security"));
        let config = read("agent = 'system:serviceaccount:a:b'").unwrap();
        assert_eq!(config.agents_namespace(), Some("a"));
    }

    #[test]
    fn a_cluster_is_called_default_unless_it_is_said() {
        assert!(read("").unwrap().cluster.is_default());
        let config = read("cluster = 'west'").unwrap();
        assert_eq!(config.cluster.as_str(), "west");
        let refused = read("cluster = 'West'");
        assert!(matches!(refused, Err(ConfigError::Malformed { .. })));
    }

    #[test]
    fn no_pull_secrets_are_read_unless_it_is_said() {
        assert!(read("").unwrap().registries.pull_secrets.is_empty());
        let config = read("[registries]\npull-secrets = ['payments']\n").unwrap();
        assert_eq!(config.registries.pull_secrets, ["payments"]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(matches!(
            read("exectue = false"),
            Err(ConfigError::Malformed { .. })
        ));
        assert!(matches!(
            read("breaker-percent = 101"),
            Err(ConfigError::Breaker(101))
        ));
        assert!(matches!(read("audience = ''"), Err(ConfigError::Audience)));
        let named = read("namespace = 'a.b'");
        assert!(matches!(named, Err(ConfigError::Name(_))));
        let missing = Config::read(Path::new("/nowhere/kubernetes.toml"));
        assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
    }
}
