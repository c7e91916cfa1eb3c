//! Pods: as they are asked for, and where they came to be.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Api, Result, nodes, until};

/// An image that is nowhere: without kubelets none is pulled.
const IMAGE: &str = "registry.example/payments/api@sha256:\
                     5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592";
/// The label by which a Deployment's pods are known.
const OF_DEPLOYMENT: &str = "deployment";
/// Far longer than a scheduler takes for its first try.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a pod came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On this node.
    Bound(String),
    /// On none so far, and the scheduler says why (the condition `PodScheduled`).
    Waiting(String),
}

/// A pod with one container and the label `app`, which any node may take.
#[must_use]
pub fn pod(namespace: &str, name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": app } },
        "spec": {
            "containers": [{ "name": "api", "image": IMAGE }],
            "terminationGracePeriodSeconds": 0,
            // A token would have to be made first, before 1.24.
            "automountServiceAccountToken": false,
        },
    })
}

/// The same pod, but for one node alone.
#[must_use]
pub fn pinned(mut pod: Value, node: &str) -> Value {
    pod["spec"]["nodeSelector"] = json!({ nodes::HOSTNAME: node });
    pod
}

/// A binding by hand; `uid` of the pod, if it is to be named.
#[must_use]
pub fn binding(namespace: &str, name: &str, uid: Option<&str>, node: &str) -> Value {
    let mut binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": { "name": name, "namespace": namespace },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    if let Some(uid) = uid {
        binding["metadata"]["uid"] = uid.into();
    }
    binding
}

/// Where the pods of a namespace are.
#[must_use]
pub fn list(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// Where a pod is.
#[must_use]
pub fn path(namespace: &str, name: &str) -> String {
    format!("{}/{name}", list(namespace))
}

/// Asks for a pod.
///
/// # Errors
/// The API server refuses, for a webhook perhaps.
pub async fn create(api: &Api, pod: &Value) -> Result<Value> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    api.create(&list(namespace), pod).await
}

/// Where a pod came to be, as soon as the scheduler has tried.
///
/// # Errors
/// It is not there, or the scheduler does not try.
pub async fn placement(api: &Api, namespace: &str, name: &str) -> Result<Placement> {
    let (path, what) = (
        path(namespace, name),
        format!("the scheduler tries `{namespace}/{name}`"),
    );
    until(&what, PATIENCE, async || Ok(placed(&api.get(&path).await?))).await
}

/// The node of a pod, as soon as it has one.
///
/// # Errors
/// It is not there, or gets none in time.
pub async fn bound(api: &Api, namespace: &str, name: &str, patience: Duration) -> Result<String> {
    let (path, what) = (
        path(namespace, name),
        format!("`{namespace}/{name}` is bound"),
    );
    until(&what, patience, async || {
        Ok(node_of(&api.get(&path).await?))
    })
    .await
}

/// What a pod's own fields say of where it is; nothing before the scheduler's first try.
#[must_use]
pub fn placed(pod: &Value) -> Option<Placement> {
    let waits = || {
        let conditions = pod["status"]["conditions"].as_array()?;
        let refused = conditions.iter().find(|condition| {
            condition["type"] == "PodScheduled" && condition["status"] == "False"
        })?;
        Some(Placement::Waiting(refused["message"].as_str()?.to_owned()))
    };
    node_of(pod).map(Placement::Bound).or_else(waits)
}

fn node_of(pod: &Value) -> Option<String> {
    pod["spec"]["nodeName"].as_str().map(str::to_owned)
}

/// A Deployment with so many pods like this one, which controllers create.
#[must_use]
pub fn deployment(name: &str, pod: &Value, replicas: u32) -> Value {
    let mut labels = pod["metadata"]["labels"].clone();
    labels[OF_DEPLOYMENT] = name.into();
    let template = json!({ "metadata": { "labels": labels }, "spec": pod["spec"] });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": pod["metadata"]["namespace"] },
        "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": template },
    })
}

/// Asks for a Deployment.
///
/// # Errors
/// The API server refuses.
pub async fn deploy(api: &Api, deployment: &Value) -> Result<Value> {
    let namespace = deployment["metadata"]["namespace"].as_str();
    let list = format!(
        "/apis/apps/v1/namespaces/{}/deployments",
        namespace.unwrap_or_default()
    );
    api.create(&list, deployment).await
}

/// The pods of a Deployment.
///
/// # Errors
/// The API server does not answer.
pub async fn of_deployment(api: &Api, namespace: &str, name: &str) -> Result<Vec<Value>> {
    let path = format!("{}?labelSelector={OF_DEPLOYMENT}={name}", list(namespace));
    let mut found = api.get(&path).await?;
    let pods = found["items"].as_array_mut();
    Ok(pods.map(std::mem::take).unwrap_or_default())
}
