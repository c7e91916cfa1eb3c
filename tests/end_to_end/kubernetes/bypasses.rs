//! Ways around the scheduler, and around the webhook: each ends where its row of `attacks.toml` says.

use serde_json::{Value, json};
use touchstone_tests::cluster::{Cluster, pod, six};
use touchstone_tpm_sim::kubernetes::{Error, Refusal, pods};
use touchstone_tpm_sim::six_nodes::{NAMESPACE, Six};

pub(super) async fn a_preset_node_is_judged_as_a_binding(cluster: &Cluster) {
    let altered = preset(pod("preset-de-2"), six("de-2"));
    let refused = refused(pods::create(cluster.api(), &altered).await);
    assert!(is_about(&refused, six("de-2")), "{refused}");
    assert_eq!(cluster.refusal("preset-de-2"), "tier-insufficient");
    // It is the node that counts, not the way.
    let proven = preset(pod("preset-de-1"), six("de-1"));
    pods::create(cluster.api(), &proven).await.unwrap();
    assert_eq!(cluster.decisions("preset-de-1")[0]["admitted"], true);
}

pub(super) async fn a_binding_by_hand_is_judged_whichever_way_it_comes(cluster: &Cluster) {
    let uid = unscheduled(cluster, "by-hand").await;
    let abroad = six("us-1");
    let subresource = format!("{}/binding", pods::path(NAMESPACE, "by-hand"));
    let legacy = format!("/api/v1/namespaces/{NAMESPACE}/bindings");
    for path in [&subresource, &legacy] {
        let binding = pods::binding(NAMESPACE, "by-hand", Some(&uid), &abroad.node());
        let refused = refused(cluster.api().create(path, &binding).await);
        assert!(is_about(&refused, abroad), "{path}: {refused}");
        assert_eq!(cluster.refusal("by-hand"), "region-mismatch");
    }
    let operations = cluster.decisions("by-hand");
    let operation = |entry: &Value| entry["operation"].as_str().unwrap().to_owned();
    let operations: Vec<String> = operations.iter().map(operation).collect();
    assert_eq!(operations, ["CREATE pods/binding", "CREATE bindings"]);
    let binding = pods::binding(NAMESPACE, "by-hand", Some(&uid), &six("de-1").node());
    cluster.api().create(&legacy, &binding).await.unwrap();
    assert_eq!(
        cluster.node_of(NAMESPACE, "by-hand").await,
        six("de-1").node()
    );
}

pub(super) async fn a_binding_without_the_uid_of_a_known_pod_is_refused(cluster: &Cluster) {
    let _uid = unscheduled(cluster, "unnamed").await;
    let path = format!("{}/binding", pods::path(NAMESPACE, "unnamed"));
    let wrong = "11111111-2222-3333-4444-555555555555";
    let before = refused_as(cluster, "pod-unknown").await;
    // Where the host may not run it, no way of looking the pod up lets it pass.
    for uid in [None, Some(wrong)] {
        let binding = pods::binding(NAMESPACE, "unnamed", uid, &six("us-1").node());
        let refused = refused(cluster.api().create(&path, &binding).await);
        assert!(refused.message.contains("not reviewed here"), "{refused}");
    }
    assert_eq!(refused_as(cluster, "pod-unknown").await - before, 2.0);
    has_no_node(cluster, "unnamed").await;
}

/// How many reviews were refused for this reason.
async fn refused_as(cluster: &Cluster, code: &str) -> f64 {
    let name = format!("touchstone_refusals_total{{code=\"{code}\"}} ");
    let metrics = cluster.world.server.text("/metrics").await;
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
    count.map_or(0.0, |count| count.parse().unwrap())
}

pub(super) async fn what_is_only_tried_is_judged_and_leaves_nothing(cluster: &Cluster) {
    let uid = unscheduled(cluster, "tried").await;
    let before = cluster.world.server.audit_entries().len();
    let list = format!("{}?dryRun=All", pods::list(NAMESPACE));
    let binding = format!("{}/binding?dryRun=All", pods::path(NAMESPACE, "tried"));
    for (host, good) in [("de-1", true), ("us-1", false)] {
        let six = six(host);
        let object = pods::binding(NAMESPACE, "tried", Some(&uid), &six.node());
        let tried = cluster.api().create(&binding, &object).await;
        assert_eq!(tried.is_ok(), good, "{host}");
        let created = cluster
            .api()
            .create(&list, &preset(pod("never"), six))
            .await;
        assert_eq!(created.is_ok(), good, "{host}");
    }
    let written = cluster.world.server.audit_entries().len() - before;
    let came_of_it = match written {
        0 => "nothing-written",
        _ => "written",
    };
    assert_eq!(came_of_it, "nothing-written");
    has_no_node(cluster, "tried").await;
    let never = pods::path(NAMESPACE, "never");
    assert_eq!(cluster.api().find(&never).await.unwrap(), None);
}

pub(super) async fn no_label_of_a_namespace_takes_its_pods_away(cluster: &Cluster) {
    let namespace = format!("/api/v1/namespaces/{NAMESPACE}");
    let relabel = async |labels: Value| {
        let part = json!({ "metadata": { "labels": labels } });
        cluster.api().patch(&namespace, &part).await.unwrap()
    };
    // What other admission webhooks go by, and a name that is not the namespace's.
    relabel(json!({
        "name": "kube-system", "control-plane": "true", "admission": "disabled",
        "app.kubernetes.io/name": "touchstone",
    }))
    .await;
    let name = "kubernetes.io/metadata.name";
    if cluster.plane.names_namespaces() {
        let relabelled = relabel(json!({ name: "kube-system" })).await;
        assert_eq!(relabelled["metadata"]["labels"][name], NAMESPACE);
    } else {
        let version = cluster.plane.version();
        eprintln!(
            "SKIPPED: {version} does not defend the label `{name}`; from 1.21 on API servers do"
        );
    }
    // An API server takes labels from its cache: not before it has seen them does this say anything.
    let elsewhere = preset(pod("relabelled"), six("de-2"));
    let refused = refused(pods::create(cluster.api(), &elsewhere).await);
    assert!(is_about(&refused, six("de-2")), "{refused}");
    assert_eq!(cluster.refusal("relabelled"), "tier-insufficient");
}

fn preset(mut pod: Value, six: &Six) -> Value {
    pod["spec"]["nodeName"] = six.node().into();
    pod
}

/// A pod that no scheduler looks at; its uid.
async fn unscheduled(cluster: &Cluster, name: &str) -> String {
    let mut pod = pod(name);
    pod["spec"]["schedulerName"] = "nobody".into();
    let pod = pods::create(cluster.api(), &pod).await.unwrap();
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

async fn has_no_node(cluster: &Cluster, name: &str) {
    let pod = cluster
        .api()
        .get(&pods::path(NAMESPACE, name))
        .await
        .unwrap();
    assert_eq!(pod["spec"].get("nodeName"), None);
}

/// What our webhook refused.
fn refused(asked: Result<Value, Error>) -> Refusal {
    let refused = asked.expect_err("it was to be refused");
    let refusal = refused.refusal().unwrap_or_else(|| panic!("{refused}"));
    assert_eq!((refusal.status, &*refusal.reason), (403, "Forbidden"));
    refusal.clone()
}

fn is_about(refusal: &Refusal, six: &Six) -> bool {
    refusal.message.contains("touchstone: ") && refusal.message.contains(six.refused.unwrap().words)
}
