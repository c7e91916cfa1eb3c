//! Events of nodes and pods, found as `kubectl describe` finds them.

use serde_json::Value;
use touchstone_tests::cluster::{Cluster, PATIENCE, six};
use touchstone_tpm_sim::kubernetes::{Result, until};

/// The first event of a host's node with this reason, once there is one.
pub(super) async fn of_node(cluster: &Cluster, host: &str, reason: &str) -> Value {
    let node = six(host).node();
    // kubectl of each version looks for the events of a node with its name in place of its uid.
    once(cluster, "default", ("Node", &node, &node), reason).await
}

/// How many there are.
pub(super) async fn count_of_node(cluster: &Cluster, host: &str, reason: &str) -> usize {
    let node = six(host).node();
    let found = found(cluster, "default", ("Node", &node, &node), reason).await;
    found.unwrap().len()
}

/// The first event of a pod with this reason, once there is one. The pod may be gone.
pub(super) async fn of_pod(cluster: &Cluster, pod: &Value, reason: &str) -> Value {
    let word = |name: &str| pod["metadata"][name].as_str().unwrap().to_owned();
    let about = ("Pod", &*word("name"), &*word("uid"));
    once(cluster, &word("namespace"), about, reason).await
}

async fn once(
    cluster: &Cluster,
    namespace: &str,
    about: (&str, &str, &str),
    reason: &str,
) -> Value {
    until(reason, PATIENCE, async || {
        let found = found(cluster, namespace, about, reason).await?;
        Ok(found.into_iter().next())
    })
    .await
    .unwrap()
}

async fn found(
    cluster: &Cluster,
    namespace: &str,
    (kind, name, uid): (&str, &str, &str),
    reason: &str,
) -> Result<Vec<Value>> {
    let about = [("kind", kind), ("name", name), ("uid", uid)];
    let about = about.map(|(field, value)| format!("involvedObject.{field}%3D{value}"));
    let path = format!(
        "/api/v1/namespaces/{namespace}/events?fieldSelector={}",
        about.join("%2C")
    );
    let list = cluster.api().get(&path).await?;
    let events = list["items"].as_array().cloned().unwrap_or_default();
    let meant = |event: &Value| event["reason"] == reason;
    Ok(events.into_iter().filter(meant).collect())
}
