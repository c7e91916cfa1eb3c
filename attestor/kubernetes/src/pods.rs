//! Pods: what is looked at in them, and their end.

use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, GroupVersionKind, Object, Patch, PatchParams, Preconditions,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cluster::{Cluster, ClusterError};
use crate::lenient::Lenient;
use crate::names::{GATE, MANAGER};
use crate::pod::{PodSpec, null_is_empty, reference};

/// A pod.
pub type Pod = Object<PodSpec, PodStatus>;

/// `PodStatus`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Containers, as the node reports them.
    #[serde(deserialize_with = "null_is_empty")]
    pub container_statuses: Vec<ContainerStatus>,
    /// Those that run before.
    #[serde(deserialize_with = "null_is_empty")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// Those that were added to the running pod.
    #[serde(deserialize_with = "null_is_empty")]
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
}

/// `ContainerStatus`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// The container's name.
    pub name: String,
    /// What the runtime says it runs: a reference with a digest; empty before it runs.
    #[serde(rename = "imageID", deserialize_with = "reference")]
    pub image_id: String,
    /// How it stands.
    pub state: ContainerState,
}

/// `ContainerState`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ContainerState {
    /// There while it runs.
    pub running: Option<Running>,
}

/// `ContainerStateRunning`, of which nothing is looked at.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Running {}

/// How pods are asked for.
pub(crate) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods")
}

/// Where pods of a namespace are asked for.
pub(crate) fn api(client: &Client, namespace: &str) -> Api<Lenient<PodSpec, PodStatus>> {
    Api::namespaced_with(client.clone(), namespace, &resource())
}

/// Whether it waits behind our scheduling gate.
pub(crate) fn is_gated(pod: &Pod) -> bool {
    pod.spec
        .scheduling_gates
        .iter()
        .any(|gate| gate.name == GATE)
}

/// Longest time to end in that somebody else may have given a pod, seconds: one with more is not over.
const ENDING_MAX: i64 = 30;

/// Whether nothing of it runs any more, or it was told to end soon.
pub(crate) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().map(|status| status.phase.as_str());
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    let ends = pod.metadata.deletion_timestamp.is_some() && grace <= ENDING_MAX;
    ends || matches!(phase, Some("Succeeded" | "Failed"))
}

impl Cluster {
    /// Takes our scheduling gate off a pod that waits. One that changed meanwhile is an error, and is seen anew.
    pub async fn open_gate(&self, pod: &Pod) -> Result<(), ClusterError> {
        let (Some(name), Some(namespace)) = (&pod.metadata.name, &pod.metadata.namespace) else {
            return Ok(());
        };
        let others = pod
            .spec
            .scheduling_gates
            .iter()
            .filter(|gate| gate.name != GATE);
        let patch = json!({
            "metadata": { "resourceVersion": pod.metadata.resource_version },
            "spec": { "schedulingGates": others.collect::<Vec<_>>() },
        });
        let api = api(&self.client, namespace);
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        self.look(api.patch(name, &parameters, &patch)).await?;
        Ok(())
    }

    /// Ends this pod, and no other of its name, within `grace` seconds. A disruption budget does not keep it: what
    /// must not run there any more is not asked whether others of its kind do. Says whether there was one to end.
    pub async fn end_pod(&self, pod: &Pod, grace: u32) -> Result<bool, ClusterError> {
        let (Some(name), Some(namespace)) = (&pod.metadata.name, &pod.metadata.namespace) else {
            return Ok(false);
        };
        let api = api(&self.client, namespace);
        let parameters = DeleteParams {
            grace_period_seconds: Some(grace),
            preconditions: Some(Preconditions {
                uid: pod.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.look(api.delete(name, &parameters)).await {
            Ok(_) => Ok(true),
            // Gone already, or another one under its name.
            Err(ClusterError::Api(kube::Error::Api(status)))
                if [404, 409].contains(&status.code) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
