//! One cluster: its API server, and what is held in memory of its pods and nodes.
//!
//! What is held is behind by as much as a watch is. Whoever decides by it looks again once the decision was carried out.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, future};
use kube::Client;
use kube::api::{Api, ApiResource, Object};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::config::{Config, PolicySource};
use crate::lenient::Lenient;
use crate::node::{self, Node};
use crate::objects::PolicyObjects;
use crate::pod::PodSpec;
use crate::pods::{self, Pod, PodStatus};

/// How long one look at the API server may take, inside of a review that may take three seconds.
const LOOK: Duration = Duration::from_millis(1500);
/// Looks at once: more would only wait for each other at the API server.
const LOOKS: usize = 16;

/// Objects in a page of a list. A page is held as it came and as it is read, and a pod may be of a megabyte and more.
const PAGE: u32 = 50;

/// A cluster that is watched.
pub struct Cluster {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pods: Store<Pod>,
    nodes: Store<Node>,
    looks: Semaphore,
    policies: Option<PolicyObjects>,
    pub(crate) watches: Vec<AbortHandle>,
}

/// Why the cluster did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// How it is reached is not known.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// This process is in no pod.
    #[error("no `kubeconfig` is set, and this process is not in a pod with a service account")]
    OutOfCluster(#[from] kube::config::InClusterError),
    /// It refused or failed.
    #[error("the API server refused or failed")]
    Api(#[from] kube::Error),
    /// It took too long.
    #[error("the API server did not answer in time")]
    Slow,
    /// It answered with an object of another shape.
    #[error("`{name}` is not written as this version of the attestor knows it: {why}")]
    Unreadable {
        /// The object.
        name: String,
        /// What is not.
        why: String,
    },
}

impl Cluster {
    /// Begins to watch. Does not wait for the API server: while it is away, nothing is known of any pod.
    pub async fn connect(config: Config) -> Result<Self, ClusterError> {
        let settings = match &config.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)?;
                kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
            }
            None => kube::Config::incluster()?,
        };
        let client = Client::try_from(settings)?;
        let mut watches = Vec::new();
        let pods = watched::<PodSpec, PodStatus>(&client, &pods::resource(), &mut watches);
        let nodes = watched(&client, &node::resource(), &mut watches);
        let mut cluster = Self {
            client,
            pods,
            nodes,
            looks: Semaphore::new(LOOKS),
            policies: None,
            watches,
            config,
        };
        if cluster.config.policies == PolicySource::Objects {
            cluster.policies = Some(PolicyObjects::watch(&mut cluster));
        }
        Ok(cluster)
    }

    /// The settings that it was connected with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The pod of this name, if it is the one of that uid: as it is held, else as the API server says now.
    pub async fn pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Option<Arc<Pod>>, ClusterError> {
        let is_it = |pod: &Arc<Pod>| pod.metadata.uid.as_deref() == Some(uid);
        let key = ObjectRef::new_with(name, pods::resource()).within(namespace);
        if let Some(pod) = self.pods.get(&key).filter(is_it) {
            return Ok(Some(pod));
        }
        let pod = self.pod_now(namespace, name).await?;
        Ok(pod.map(Arc::new).filter(is_it))
    }

    /// The pod of this name as the API server says now.
    pub(crate) async fn pod_now(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Pod>, ClusterError> {
        let api = pods::api(&self.client, namespace);
        let found = self.look(api.get_opt(name)).await?;
        found.map(Lenient::whole).transpose()
    }

    /// The node of this name as the API server says now.
    pub async fn node_now(&self, name: &str) -> Result<Option<Node>, ClusterError> {
        let found = self.look(node::api(&self.client).get_opt(name)).await?;
        found.map(Lenient::whole).transpose()
    }

    /// Which node of this name is held.
    #[must_use]
    pub fn node_uid(&self, name: &str) -> Option<String> {
        let key = ObjectRef::new_with(name, node::resource());
        self.nodes.get(&key)?.metadata.uid.clone()
    }

    /// The policy manifests in the cluster, where they are taken from there.
    #[must_use]
    pub fn policies(&self) -> Option<&PolicyObjects> {
        self.policies.as_ref()
    }

    /// All nodes, as they are held.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.state()
    }

    /// All pods that are bound and have not ended, as they are held.
    #[must_use]
    pub fn bound_pods(&self) -> Vec<Arc<Pod>> {
        self.pods
            .state_filter(|pod| pod.spec.node_name.is_some() && !pods::is_over(pod))
    }

    /// All pods that wait behind our scheduling gate, as they are held.
    #[must_use]
    pub fn gated_pods(&self) -> Vec<Arc<Pod>> {
        self.pods
            .state_filter(|pod| pods::is_gated(pod) && !pods::is_over(pod))
    }

    /// Ends once all pods and nodes were listed. Policies are not waited for: without their definitions they never are.
    pub async fn ready(&self) {
        let _ = self.pods.wait_until_ready().await;
        let _ = self.nodes.wait_until_ready().await;
    }

    /// A look that waits for no other.
    pub(crate) async fn hurry<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        match timeout(LOOK, request).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(ClusterError::Slow),
        }
    }

    pub(crate) async fn look<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        self.hurry(async {
            let _turn = self.looks.acquire().await;
            request.await
        })
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.watches.iter().for_each(AbortHandle::abort);
    }
}

/// Watches all objects of a resource for as long as the process lives. What nobody looks at is not kept.
pub(crate) fn watched<P, U>(
    client: &Client,
    resource: &ApiResource,
    watches: &mut Vec<AbortHandle>,
) -> Store<Object<P, U>>
where
    P: Clone + Debug + Default + DeserializeOwned + Serialize + Send + Sync + 'static,
    U: Clone + Debug + Default + DeserializeOwned + Serialize + Send + Sync + 'static,
{
    let writer = reflector::store::Writer::new(resource.clone());
    let store = writer.as_reader();
    let api = Api::<Lenient<P, U>>::all_with(client.clone(), resource);
    let kind = resource.kind.clone();
    let stream = watcher(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .filter_map(|event| {
            let shown = event.map(Lenient::shown).transpose();
            future::ready(shown)
        })
        .reflect(writer);
    let run = async move {
        stream
            .for_each(|event| {
                if let Err(error) = event {
                    tracing::warn!(k8s.kind = kind, "the watch was interrupted: {error}");
                }
                future::ready(())
            })
            .await;
    };
    watches.push(tokio::spawn(run).abort_handle());
    store
}
