//! One cluster: its API server, and what is held in memory of its pods and nodes.
//!
//! What is held is behind by as much as a watch is. Whoever decides by it looks again once the decision was carried out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kube::Client;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use touchstone_policies::admit::Workload;

use crate::config::{Config, PolicySource};
pub use crate::error::ClusterError;
use crate::kubeconfig;
use crate::lenient::Lenient;
use crate::node::{self, Node};
use crate::objects::PolicyObjects;
use crate::pod::PodSpec;
use crate::pods::{self, Pod, PodStatus};
use crate::reach::Reach;
use crate::watched::watched;
use crate::workload;

/// How long one look at the API server may take, inside of a review that may take three seconds.
const LOOK: Duration = Duration::from_millis(1500);
/// Looks at once: more would only wait for each other at the API server.
const LOOKS: usize = 16;

/// A cluster that is watched.
pub struct Cluster {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) reach: Arc<Reach>,
    pods: Store<Pod>,
    nodes: Store<Node>,
    looks: Semaphore,
    policies: PolicyObjects,
    watches: Vec<AbortHandle>,
}

/// A pod that was looked for by name and uid.
pub enum Found {
    /// It is there.
    It(Arc<Pod>),
    /// One of its name is there, with another uid.
    Another,
    /// None of its name is there.
    Nothing,
}

impl Cluster {
    /// Begins to watch. Does not wait for the API server: while it is away, nothing is known of any pod.
    pub async fn connect(config: Config) -> Result<Self, ClusterError> {
        let settings = match &config.kubeconfig {
            Some(path) => kubeconfig::read(path).await?,
            None => kube::Config::incluster()?,
        };
        let url = settings.cluster_url.to_string();
        let reach = Arc::new(Reach::new(url.trim_end_matches('/').to_owned()));
        let client = Client::try_from(settings).map_err(ClusterError::Credential)?;
        let mut watches = Vec::new();
        let pods = pods::resource();
        let pods = watched::<PodSpec, PodStatus>(&client, &reach, &pods, &mut watches);
        let nodes = watched(&client, &reach, &node::resource(), &mut watches);
        let policies = PolicyObjects::watch(&client, &reach, &mut watches);
        Ok(Self {
            client,
            reach,
            pods,
            nodes,
            looks: Semaphore::new(LOOKS),
            policies,
            watches,
            config,
        })
    }

    /// Whether its API server answered, and has not gone away since.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.reach.is_open()
    }

    /// The settings that it was connected with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The pod of this name and uid: as it is held, else as the API server says now.
    pub async fn pod(&self, namespace: &str, name: &str, uid: &str) -> Result<Found, ClusterError> {
        let is_it = |pod: &Arc<Pod>| pod.metadata.uid.as_deref() == Some(uid);
        let key = ObjectRef::new_with(name, pods::resource()).within(namespace);
        if let Some(pod) = self.pods.get(&key).filter(is_it) {
            return Ok(Found::It(pod));
        }
        let pod = self.pod_now(namespace, name).await?.map(Arc::new);
        Ok(match pod {
            Some(pod) if is_it(&pod) => Found::It(pod),
            Some(_) => Found::Another,
            None => Found::Nothing,
        })
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
        let from_here = self.config.policies == PolicySource::Objects;
        from_here.then_some(&self.policies)
    }

    /// The same, where they are taken from elsewhere, so that these are in vain.
    #[must_use]
    pub fn policies_in_vain(&self) -> Option<&PolicyObjects> {
        let from_here = self.config.policies == PolicySource::Objects;
        (!from_here).then_some(&self.policies)
    }

    /// All nodes, as they are held.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.state()
    }

    /// All pods that are bound and have not ended, as they are held.
    #[must_use]
    pub fn bound_pods(&self) -> Vec<Arc<Pod>> {
        self.pods.state_filter(is_bound)
    }

    /// Those of one workload of a controller.
    #[must_use]
    pub fn bound_pods_of(&self, namespace: &str, workload: &Workload) -> Vec<Arc<Pod>> {
        self.pods.state_filter(|pod| {
            pod.metadata.namespace.as_deref() == Some(namespace)
                && workload::is_of(&pod.metadata, workload)
                && is_bound(pod)
        })
    }

    /// Whether all pods were listed once: before that, what is held of them says nothing of those that are not there.
    #[must_use]
    pub fn pods_are_listed(&self) -> bool {
        matches!(self.pods.wait_until_ready().now_or_never(), Some(Ok(())))
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
        let answer = match timeout(LOOK, request).await {
            Ok(answer) => answer.map_err(ClusterError::from),
            Err(_) => Err(ClusterError::Slow),
        };
        match &answer {
            Ok(_) => self.reach.answered(),
            Err(error) => self.reach.failed(error),
        }
        answer
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

fn is_bound(pod: &Pod) -> bool {
    pod.spec.node_name.is_some() && !pods::is_over(pod)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.watches.iter().for_each(AbortHandle::abort);
    }
}
