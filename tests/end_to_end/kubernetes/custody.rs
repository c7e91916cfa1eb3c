//! Workloads on a real cluster: which pod came after which, from which host; and pods that are not what was made.

use serde_json::{Value, json};
use touchstone_tests::cluster::{Cluster, PATIENCE, pod, six};
use touchstone_tpm_sim::kubernetes::{nodes, pods, until, webhooks};
use touchstone_tpm_sim::six_nodes::{NAMESPACE, policy};

use super::entries::entry;
use super::marks::until_mutated;

/// The healthy hosts of all countries fit, and pods are steered to them: a scheduler whose binding is refused looks
/// again only when a node changes, or after a minute and a half. The host that no longer attests gets none.
pub(super) async fn let_more_hosts_in(cluster: &Cluster) {
    let anywhere = policy().replace("    region: germany\n", "");
    assert_ne!(anywhere, policy());
    cluster.world.apply(&anywhere);
    close(cluster, &six("de-3").node(), true).await;
    let mutating = cluster.attestor(webhooks::mutating).unwrap();
    webhooks::install(cluster.api(), &mutating).await.unwrap();
    until_mutated(cluster, true).await;
}

/// Whether the scheduler may use a node.
async fn close(cluster: &Cluster, node: &str, closed: bool) {
    let change = json!({ "spec": { "unschedulable": closed.then_some(true) } });
    cluster
        .api()
        .patch(&nodes::path(node), &change)
        .await
        .unwrap();
}

pub(super) async fn a_pod_that_is_made_anew_is_followed_from_host_to_host(cluster: &Cluster) {
    let api = cluster.api();
    let deployment = pods::deployment("moves", &pod(""), 1);
    pods::deploy(api, &deployment).await.unwrap();
    let first = the_pod(cluster, "moves", "").await;
    known(cluster, &first).await;
    let node = first["spec"]["nodeName"].as_str().unwrap();
    close(cluster, node, true).await;
    let name = first["metadata"]["name"].as_str().unwrap();
    api.delete(&pods::path(NAMESPACE, name)).await.unwrap();
    let second = the_pod(cluster, "moves", name).await;
    let entry = moved(cluster, &second).await;
    let side = |pod: &Value| {
        let node = pod["spec"]["nodeName"].as_str().unwrap();
        json!({
            "pod": pod["metadata"]["name"], "pod_uid": pod["metadata"]["uid"], "node": node,
            "host": node.trim_start_matches("node-"), "tier": "affirming",
        })
    };
    assert_eq!(
        (&entry["from"], &entry["to"]),
        (&side(&first), &side(&second))
    );
    assert_ne!(entry["from"]["host"], entry["to"]["host"]);
    assert_eq!(
        (&entry["same"], &entry["actor"]),
        (&json!(true), &json!("attestor"))
    );
    assert_eq!(entry["workload"]["kind"], "ReplicaSet");
    let shown = cluster
        .world
        .server
        .command(&["workload", "show", "payments/moves"]);
    let shown = &shown["workloads"][0];
    assert_eq!(shown["moves"][0]["to"], side(&second));
    assert_eq!(entry["workload"]["revision"], shown["revision"]);
    close(cluster, node, false).await;
}

pub(super) async fn an_image_is_not_changed_where_it_runs(cluster: &Cluster) {
    let api = cluster.api();
    let deployment = pods::deployment("same", &pod(""), 1);
    pods::deploy(api, &deployment).await.unwrap();
    let there = the_pod(cluster, "same", "").await;
    known(cluster, &there).await;
    let path = pods::path(NAMESPACE, there["metadata"]["name"].as_str().unwrap());
    let mut containers = there["spec"]["containers"].clone();
    containers[0]["image"] = json!(format!("registry.example/other@sha256:{}", "0b".repeat(32)));
    let changed = json!({ "spec": { "containers": containers } });
    let refused = api.patch(&path, &changed).await.unwrap_err().to_string();
    assert!(
        refused.contains("is not what its workload was made of"),
        "{refused}"
    );
    // Nobody asks the attestor: it sees it all the same.
    let configuration = cluster.attestor(webhooks::validating).unwrap();
    let lists = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/touchstone";
    api.delete(lists).await.unwrap();
    until("the change is let through", PATIENCE, async || {
        Ok(api.patch(&path, &changed).await.ok())
    })
    .await
    .unwrap();
    let uid = &there["metadata"]["uid"];
    let ended = entry(cluster, |entry| {
        entry["kind"] == "pod-ended" && entry["pod_uid"] == *uid
    });
    assert_eq!(ended.await["refusals"], json!(["workload-changed"]));
    webhooks::install(api, &configuration).await.unwrap();
    webhooks::in_force(api, &pod("trial")).await.unwrap();
    // The one that comes after it is what was made.
    let name = there["metadata"]["name"].as_str().unwrap();
    let next = the_pod(cluster, "same", name).await;
    assert_eq!(moved(cluster, &next).await["same"], true);
}

/// The pod of a Deployment that is bound and is not called `gone`.
async fn the_pod(cluster: &Cluster, deployment: &str, gone: &str) -> Value {
    let what = format!("a pod of `{deployment}` is bound");
    let bound = until(&what, PATIENCE, async || {
        let pods = pods::of_deployment(cluster.api(), NAMESPACE, deployment).await?;
        let bound = |pod: &Value| {
            let placed = pods::placed(pod);
            pod["metadata"]["name"] != gone && matches!(placed, Some(pods::Placement::Bound(_)))
        };
        Ok(pods.into_iter().find(bound))
    });
    match bound.await {
        Ok(pod) => pod,
        Err(late) => panic!("{late}; {}", what_is_there(cluster, deployment).await),
    }
}

/// The pods of a Deployment and what the nodes say of themselves, for whoever asks why none is bound.
async fn what_is_there(cluster: &Cluster, deployment: &str) -> Value {
    let pods = pods::of_deployment(cluster.api(), NAMESPACE, deployment).await;
    let nodes = cluster.api().get("/api/v1/nodes").await.unwrap();
    let nodes = nodes["items"].as_array().unwrap();
    let said = nodes.iter().map(|node| {
        json!({
            "name": node["metadata"]["name"], "labels": node["metadata"]["labels"], "spec": node["spec"],
        })
    });
    json!({ "pods": pods.unwrap(), "nodes": said.collect::<Vec<_>>() })
}

/// Waits until the attestor knows where the pod is.
async fn known(cluster: &Cluster, pod: &Value) {
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let rows = format!("workload_places WHERE pod_uid = '{uid}'");
    until("the pod's place is known", PATIENCE, async || {
        let known = cluster.world.server.count(&rows).await == 1;
        Ok(known.then_some(()))
    })
    .await
    .unwrap();
}

/// The entry that says what this pod came after.
async fn moved(cluster: &Cluster, pod: &Value) -> Value {
    let uid = &pod["metadata"]["uid"];
    entry(cluster, |entry| {
        entry["kind"] == "workload-moved" && entry["to"]["pod_uid"] == *uid
    })
    .await
}
