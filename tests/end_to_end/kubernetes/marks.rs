//! What the attestor writes onto nodes, and who else may.

use serde_json::{Value, json};
use touchstone_evidence::result::{ResultKey, VerifiedNode};
use touchstone_tests::cluster::{Cluster, PATIENCE, pod, pod_for, six};
use touchstone_tpm_sim::kubernetes::{nodes, pods, until, webhooks};
use touchstone_tpm_sim::six_nodes::NAMESPACE;

pub(super) const TIER: &str = "node-restriction.kubernetes.io/touchstone-tier";
const COUNTRY: &str = "node-restriction.kubernetes.io/touchstone-country";
const GERMANY: &str = "node-restriction.kubernetes.io/touchstone-region.germany";

pub(super) async fn each_node_carries_what_is_held_about_its_host(cluster: &Cluster) {
    for (host, tier, country, germany) in [
        ("de-1", "affirming", Some("DE"), Some("true")),
        ("us-1", "affirming", Some("US"), None),
        ("de-2", "contraindicated", None, None),
        ("de-4", "none", None, None),
    ] {
        let labels = labels_once(cluster, host, tier).await;
        assert_eq!(
            labels.get(COUNTRY).and_then(Value::as_str),
            country,
            "{host}"
        );
        assert_eq!(
            labels.get(GERMANY).and_then(Value::as_str),
            germany,
            "{host}"
        );
    }
    let unmapped = without_tier(cluster, "de-5").await;
    assert!(!is_tainted(&unmapped, "NoSchedule"), "{unmapped}");
    // What runs where no proof ever was good ran there before anybody asked.
    let never = cluster.api().get(&nodes::path(&six("de-2").node())).await;
    assert!(!is_tainted(&never.unwrap(), "NoExecute"));
    tainted(cluster, "de-3", "NoExecute").await;
    says_what_it_signed(cluster).await;
}

/// The object of a node is signed for that node alone.
async fn says_what_it_signed(cluster: &Cluster) {
    let node = six("de-1").node();
    let path = format!("/apis/touchstone.dev/v1/hosttrusts/{node}");
    let said = until("the HostTrust is written", PATIENCE, async || {
        let found = cluster.api().find(&path).await?;
        Ok(found.filter(|found| found["status"]["signed"].is_string()))
    });
    let status = said.await.unwrap()["status"].clone();
    assert_eq!(
        (&status["host"], &status["tier"]),
        (&json!("de-1"), &json!("affirming"))
    );
    assert_eq!(status["conditions"][0]["status"], "True");
    let keys = cluster.world.server.get("/v1/keys").await;
    let key = keys["result_key"].as_str().unwrap();
    let key: [u8; 32] = hex::decode(key).unwrap().try_into().unwrap();
    let key = ResultKey::from_bytes(&key).unwrap();
    let token = status["signed"].as_str().unwrap();
    let verified = VerifiedNode::verify(token, &key, 0).unwrap();
    let uid = cluster.api().get(&nodes::path(&node)).await.unwrap()["metadata"]["uid"].clone();
    let statement = verified.statement();
    assert_eq!(
        (&*statement.node, &*statement.node_uid),
        (&*node, uid.as_str().unwrap())
    );
    assert_eq!(status["nodeUid"], uid);
}

pub(super) async fn the_scheduler_does_not_even_try_a_host_that_fell(cluster: &Cluster) {
    let pod = pod_for("kept-away", six("de-3"));
    pods::create(cluster.api(), &pod).await.unwrap();
    let path = pods::path(NAMESPACE, "kept-away");
    until("the scheduler names our taint", PATIENCE, async || {
        let pod = cluster.api().get(&path).await?;
        Ok(match pods::placed(&pod) {
            Some(pods::Placement::Waiting(why)) if why.contains("touchstone.dev/untrusted") => {
                Some(())
            }
            _ => None,
        })
    })
    .await
    .unwrap();
    assert!(cluster.decisions("kept-away").is_empty());
}

/// The mutating webhook writes into a pod where it may go, and the scheduler finds it at once.
pub(super) async fn a_pod_that_names_no_node_is_steered_to_a_host_that_fits(cluster: &Cluster) {
    // Until then it would do as well.
    let _over = labels_once(cluster, "de-3", "none").await;
    let configuration = cluster.attestor(webhooks::mutating).unwrap();
    webhooks::install(cluster.api(), &configuration)
        .await
        .unwrap();
    until_mutated(cluster, true).await;
    let made = pods::create(cluster.api(), &pod("steered")).await.unwrap();
    let terms = made
        .pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms")
        .and_then(Value::as_array)
        .unwrap();
    assert_eq!(terms.len(), 1, "{made}");
    let keys = terms[0]["matchExpressions"].as_array().unwrap().iter();
    let keys: Vec<&str> = keys.map(|one| one["key"].as_str().unwrap()).collect();
    assert!(keys.contains(&TIER) && keys.contains(&GERMANY), "{made}");
    assert_eq!(
        cluster.node_of(NAMESPACE, "steered").await,
        six("de-1").node()
    );
    let decided = cluster.decisions("steered");
    assert_eq!((decided.len(), &decided[0]["admitted"]), (1, &true.into()));
    // Other scenes are about what is refused, which no pod would be that is steered.
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/touchstone";
    cluster.api().delete(path).await.unwrap();
    until_mutated(cluster, false).await;
}

/// API servers hear of a configuration within a second or two.
pub(super) async fn until_mutated(cluster: &Cluster, mutated: bool) {
    let trial = format!("{}?dryRun=All", pods::list(NAMESPACE));
    let what = "the API server asks our mutating webhook, or no more";
    until(what, PATIENCE, async || {
        let pod = cluster.api().create(&trial, &pod("steered-trial")).await?;
        let policies = &pod["metadata"]["annotations"]["touchstone.dev/policies"];
        Ok((policies.is_string() == mutated).then_some(()))
    })
    .await
    .unwrap();
}

pub(super) async fn a_mark_that_somebody_else_wrote_is_taken_back(cluster: &Cluster) {
    let node = six("de-2").node();
    let copied = json!({ "metadata": { "labels": { TIER: "affirming", GERMANY: "true" } } });
    cluster
        .api()
        .patch(&nodes::path(&node), &copied)
        .await
        .unwrap();
    let labels = labels_once(cluster, "de-2", "contraindicated").await;
    assert_eq!(came_of(labels.get(GERMANY).is_none()), "mended");
}

pub(super) async fn a_node_that_is_made_anew_under_its_name_has_no_host(cluster: &Cluster) {
    let node = six("us-1").node();
    cluster.api().delete(&nodes::path(&node)).await.unwrap();
    nodes::join(cluster.api(), &node).await.unwrap();
    let copied = json!({ "metadata": { "labels": { TIER: "affirming" } } });
    cluster
        .api()
        .patch(&nodes::path(&node), &copied)
        .await
        .unwrap();
    let _node = without_tier(cluster, "us-1").await;
    let pod = pods::pinned(pods::pod(NAMESPACE, "anew", "payments"), &node);
    pods::create(cluster.api(), &pod).await.unwrap();
    let _why = cluster.kept_from_its_node(NAMESPACE, "anew").await;
    assert_eq!(cluster.refusal("anew"), "node-unmapped");
    // Once an operator says again who stands behind it, it is a node like any other.
    cluster
        .world
        .server
        .command(&["node", "map", &node, "us-1"]);
    let _labels = labels_once(cluster, "us-1", "affirming").await;
}

/// An object of a node that lost its host while nobody led, and that of a node which did not.
pub(super) async fn what_a_leader_before_said_is_taken_back_or_said_anew(cluster: &mut Cluster) {
    const ALL: &str = "/apis/touchstone.dev/v1/hosttrusts";
    let (kept, lost) = (six("de-1").node(), six("de-5").node());
    let (kept, left) = (format!("{ALL}/{kept}"), format!("{ALL}/{lost}"));
    let before = cluster.api().get(&kept).await.unwrap()["status"].clone();
    cluster.stop_attestor();
    let object = json!({
        "apiVersion": "touchstone.dev/v1", "kind": "HostTrust", "metadata": { "name": lost },
    });
    cluster.api().create(ALL, &object).await.unwrap();
    let status = json!({ "status": before });
    let said = cluster
        .api()
        .patch(&format!("{left}/status"), &status)
        .await;
    assert_eq!(said.unwrap()["status"]["tier"], "affirming");
    cluster.start_attestor();
    until("the HostTrust is taken back", PATIENCE, async || {
        Ok(cluster.api().find(&left).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    let anew = until("the HostTrust is written anew", PATIENCE, async || {
        let status = cluster.api().get(&kept).await?["status"].clone();
        Ok((status["signed"] != before["signed"]).then_some(status))
    });
    // It stands as it did: since when, is not since another leads.
    assert_eq!(anew.await.unwrap()["conditions"], before["conditions"]);
}

fn came_of(mended: bool) -> &'static str {
    match mended {
        true => "mended",
        false => "left",
    }
}

/// The labels of a host's node, once its tier is this one.
pub(super) async fn labels_once(cluster: &Cluster, host: &str, tier: &str) -> Value {
    let path = nodes::path(&six(host).node());
    let what = format!("the node of {host} is labelled {tier}");
    until(&what, PATIENCE, async || {
        let labels = cluster.api().get(&path).await?["metadata"]["labels"].clone();
        Ok((labels[TIER] == tier).then_some(labels))
    })
    .await
    .unwrap()
}

/// The node of a host, once it carries no tier.
async fn without_tier(cluster: &Cluster, host: &str) -> Value {
    let path = nodes::path(&six(host).node());
    let what = format!("the node of {host} carries no tier");
    until(&what, PATIENCE, async || {
        let node = cluster.api().get(&path).await?;
        let carries = node["metadata"]["labels"].get(TIER).is_some();
        Ok((!carries).then_some(node))
    })
    .await
    .unwrap()
}

/// Waits until the node of a host has our taint with this effect.
pub(super) async fn tainted(cluster: &Cluster, host: &str, effect: &str) {
    let path = nodes::path(&six(host).node());
    let what = format!("the node of {host} is tainted {effect}");
    until(&what, PATIENCE, async || {
        let node = cluster.api().get(&path).await?;
        Ok(is_tainted(&node, effect).then_some(()))
    })
    .await
    .unwrap();
}

fn is_tainted(node: &Value, effect: &str) -> bool {
    let taints = node["spec"]["taints"].as_array();
    let mut taints = taints.into_iter().flatten();
    taints.any(|taint| taint["key"] == "touchstone.dev/untrusted" && taint["effect"] == effect)
}
