//! Pull secrets: credentials for registries, of namespaces that the settings name. They are read when a registry asks for
//! one, and kept nowhere.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use zeroize::{Zeroize as _, Zeroizing};

use crate::cluster::{Cluster, ClusterError};

/// The only type that is read.
const TYPE: &str = "kubernetes.io/dockerconfigjson";
/// Where it stands in such a secret.
const FIELD: &str = ".dockerconfigjson";

impl Cluster {
    /// Whether pull secrets of this namespace may be read.
    #[must_use]
    pub fn reads_pull_secrets_of(&self, namespace: &str) -> bool {
        let named = &self.config.registries.pull_secrets;
        named.iter().any(|named| named == namespace)
    }

    /// The credentials in a pull secret, as `docker login` writes them; `None`: it is not there, is of another type, or its
    /// namespace is none of those that are named.
    pub async fn pull_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, ClusterError> {
        if !self.reads_pull_secrets_of(namespace) {
            return Ok(None);
        }
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let Some(secret) = self.look(api.get_opt(name)).await? else {
            return Ok(None);
        };
        let is_one = secret.type_.as_deref() == Some(TYPE);
        let mut found = None;
        for (field, mut bytes) in secret.data.unwrap_or_default() {
            match is_one && field == FIELD {
                true => found = Some(Zeroizing::new(bytes.0)),
                false => bytes.0.zeroize(),
            }
        }
        Ok(found)
    }
}
