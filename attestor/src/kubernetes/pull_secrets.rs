//! What a registry is shown for a pod: the credential that the attestor was given for it, else one of the pod's own pull
//! secrets, where the settings let it read these.

use std::sync::Arc;

use oci_client::Reference;
use tokio::sync::OnceCell;
use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_policies::admit::PodFacts;

use crate::registries::{Credentials, CredentialsError, Login};

/// Findings that a registry which lets nobody in leads to.
const CONSEQUENCES: [&str; 2] = ["image-encryption-unknown", "image-not-signed"];

/// The pull secrets of one pod. They are read when the first registry asks for a credential.
pub(super) struct PullSecrets {
    /// `None`: none of them may be read.
    cluster: Option<Arc<Cluster>>,
    namespace: String,
    names: Vec<String>,
    read: OnceCell<Credentials>,
}

impl PullSecrets {
    /// Nobody's.
    pub(super) fn none() -> Self {
        Self::of(None, &[])
    }

    /// Of `pods`, which are one and the same as it was seen.
    pub(super) fn of(cluster: Option<&Arc<Cluster>>, pods: &[PodFacts]) -> Self {
        let namespace = pods.first().map(|pod| pod.namespace.clone());
        let namespace = namespace.unwrap_or_default();
        let allowed = cluster.filter(|cluster| cluster.reads_pull_secrets_of(&namespace));
        let mut names: Vec<String> = pods
            .iter()
            .flat_map(|pod| pod.pull_secrets.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        Self {
            cluster: allowed.cloned(),
            namespace,
            names,
            read: OnceCell::new(),
        }
    }

    /// What to show to the registry of `image`.
    pub(super) async fn login(&self, image: &Reference) -> Result<Option<Login>, CredentialsError> {
        self.read.get_or_init(|| self.read()).await.of(image)
    }

    async fn read(&self) -> Credentials {
        let mut all = Credentials::default();
        let Some(cluster) = &self.cluster else {
            return all;
        };
        for name in &self.names {
            let (namespace, secret) = (&self.namespace, cluster.pull_secret(&self.namespace, name));
            match secret.await {
                Ok(Some(bytes)) if all.add_secret(&bytes) => {}
                Ok(_) => tracing::warn!(
                    k8s.namespace = namespace,
                    k8s.secret = name,
                    "a pull secret is not there, or holds no credentials for registries"
                ),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        k8s.namespace = namespace,
                        k8s.secret = name,
                        "a pull secret was not read"
                    );
                }
            }
        }
        all
    }

    /// That the pod has pull secrets which may not be read, where that may be why it is refused for `refusals`.
    pub(super) fn unread(&self, refusals: &[Finding]) -> Option<Finding> {
        let follows = |finding: &Finding| CONSEQUENCES.contains(&&*finding.code);
        let unread = self.cluster.is_none() && !self.names.is_empty();
        let told = || Finding::new("pull-secrets-unread").about(&self.namespace);
        (unread && refusals.iter().any(follows)).then(told)
    }
}
