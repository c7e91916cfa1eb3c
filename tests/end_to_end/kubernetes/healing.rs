//! The attestor is down, alone or with everything: what the cluster needs comes up, what needs a verdict waits.

use std::time::Instant;

use serde_json::Value;
use touchstone_tests::cluster::{Cluster, PATIENCE, pod, pod_for, six};
use touchstone_tpm_sim::kubernetes::{pods, until};
use touchstone_tpm_sim::six_nodes::NAMESPACE;

/// What an API server says that cannot ask.
const WAITS: &str = "failed calling webhook";

pub(super) async fn while_the_webhook_is_down_the_system_heals_and_the_pod_waits(
    cluster: &mut Cluster,
) {
    cluster.stop_attestor();
    let begun = Instant::now();
    let refused = pods::create(cluster.api(), &pod("while-down")).await;
    let refused = refused.expect_err("it was made unseen");
    cluster.tell("the attestor is down: pod refused after", begun);
    assert!(refused.to_string().contains(WAITS), "{refused}");
    system_pod_of_a_controller(cluster, "while-down").await;
    pods::deploy(
        cluster.api(),
        &pods::deployment("waiting", &pod_for("", six("de-1")), 1),
    )
    .await
    .unwrap();
    controller_is_refused(cluster, "waiting").await;

    let begun = Instant::now();
    cluster.start_attestor();
    let node = node_of_deployment(cluster, NAMESPACE, "waiting").await;
    cluster.tell(
        "the attestor starts until the pod that waited is bound",
        begun,
    );
    assert_eq!(came_of_it(&node), "healed");
}

pub(super) async fn a_cold_cluster_comes_up_before_the_attestor(cluster: &mut Cluster) {
    cluster.stop_attestor();
    cluster.plane.cut_power();
    let begun = Instant::now();
    cluster.plane.begin().await.unwrap();
    cluster.tell("everything was down: the control plane is up after", begun);
    system_pod_of_a_controller(cluster, "cold").await;
    cluster.tell(
        "everything was down: a pod of the system is bound after",
        begun,
    );
    pods::deploy(
        cluster.api(),
        &pods::deployment("cold", &pod_for("", six("de-1")), 1),
    )
    .await
    .unwrap();
    controller_is_refused(cluster, "cold").await;

    let begun = Instant::now();
    cluster.start_attestor();
    let node = node_of_deployment(cluster, NAMESPACE, "cold").await;
    cluster.tell(
        "cold start: the attestor starts until the pod that waited is bound",
        begun,
    );
    assert_eq!(came_of_it(&node), "healed");
    // What was refused before is refused after.
    let mut elsewhere = pod("cold-elsewhere");
    elsewhere["spec"]["nodeName"] = six("us-1").node().into();
    let refused = pods::create(cluster.api(), &elsewhere).await.unwrap_err();
    assert!(
        refused.to_string().contains("outside the region"),
        "{refused}"
    );
}

/// A Deployment of the system gets its pod, and the pod a node.
async fn system_pod_of_a_controller(cluster: &Cluster, name: &str) {
    let pod = pods::pod("kube-system", "", "dns");
    let begun = Instant::now();
    pods::deploy(cluster.api(), &pods::deployment(name, &pod, 1))
        .await
        .unwrap();
    let node = node_of_deployment(cluster, "kube-system", name).await;
    cluster.tell("the attestor is down: pod of the system bound after", begun);
    assert!(node.starts_with("node-"), "{node}");
}

/// A word of `attacks.toml`, for the node that the pod got which waited.
fn came_of_it(node: &str) -> &'static str {
    match node == six("de-1").node() {
        true => "healed",
        false => "lost",
    }
}

async fn node_of_deployment(cluster: &Cluster, namespace: &str, name: &str) -> String {
    let what = format!("the pod of `{namespace}/{name}` is bound");
    until(&what, PATIENCE, async || {
        let pods = pods::of_deployment(cluster.api(), namespace, name).await?;
        Ok(pods.iter().find_map(|pod| match pods::placed(pod) {
            Some(pods::Placement::Bound(node)) => Some(node),
            _ => None,
        }))
    })
    .await
    .unwrap()
}

/// The controller says that it cannot make the pod: it waits.
async fn controller_is_refused(cluster: &Cluster, deployment: &str) {
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{deployment}");
    let refused = |condition: &Value| {
        let message = condition["message"].as_str().unwrap_or_default();
        condition["type"] == "ReplicaFailure" && message.contains(WAITS)
    };
    until("the controller is refused its pod", PATIENCE, async || {
        let deployment = cluster.api().get(&path).await?;
        let conditions = deployment["status"]["conditions"].as_array();
        let waits = conditions.is_some_and(|conditions| conditions.iter().any(refused));
        Ok(waits.then_some(()))
    })
    .await
    .unwrap();
    let made = pods::of_deployment(cluster.api(), NAMESPACE, deployment).await;
    assert!(made.unwrap().is_empty());
}
