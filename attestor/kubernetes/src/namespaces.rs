//! Namespaces: the one that tells a cluster from every other, and whether there is one of a name.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;

use crate::cluster::{Cluster, ClusterError};

/// A cluster has it from its first start on, and no API server lets anybody delete it.
const ANCHOR: &str = "kube-system";

impl Cluster {
    /// What tells this cluster from every other: the uid of its namespace `kube-system`, as the API server says now.
    pub async fn uid(&self) -> Result<String, ClusterError> {
        let api = Api::<Namespace>::all(self.client.clone());
        let anchor = self.look(api.get(ANCHOR)).await?;
        let uid = anchor.metadata.uid.filter(|uid| !uid.is_empty());
        uid.ok_or_else(|| ClusterError::Unreadable {
            name: format!("namespace {ANCHOR}"),
            why: "it has no uid".to_owned(),
        })
    }

    /// Whether the cluster has a namespace of this name, as the API server says now.
    pub async fn has_namespace(&self, name: &str) -> Result<bool, ClusterError> {
        let api = Api::<Namespace>::all(self.client.clone());
        Ok(self.look(api.get_opt(name)).await?.is_some())
    }
}
