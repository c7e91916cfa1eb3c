//! Hosts that turn, one and many at once; and the webhook configuration that somebody takes away.

use std::time::Instant;

use serde_json::{Value, json};
use touchstone_tests::cluster::{Cluster, PATIENCE, pod_for, six};
use touchstone_tpm_sim::kubernetes::{pods, until, webhooks};
use touchstone_tpm_sim::six_nodes::NAMESPACE;

use super::entries::{entry, entry_once};
use super::events;
use super::marks::{labels_once, tainted};

pub(super) async fn a_webhook_that_is_taken_away_is_recorded(cluster: &Cluster) {
    let lists = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/touchstone";
    let kind = "webhooks-changed";
    let whole = |entry: &Value| entry["gaps"].as_array().unwrap().is_empty();
    entry_once(cluster, kind, whole).await;
    cluster.api().delete(lists).await.unwrap();
    let all = |entry: &Value| entry["gaps"].as_array().unwrap().len() == 6;
    entry_once(cluster, kind, |entry| {
        entry["validating"].is_null() && all(entry)
    })
    .await;
    assert_eq!(
        cluster.world.server.metric("touchstone_webhook_gaps").await,
        6.0
    );
    let configuration = cluster.attestor(webhooks::validating).unwrap();
    let mut narrowed = configuration.clone();
    narrowed["webhooks"][0]["failurePolicy"] = "Ignore".into();
    webhooks::install(cluster.api(), &narrowed).await.unwrap();
    entry_once(cluster, kind, |entry| {
        entry["validating"].is_u64() && all(entry)
    })
    .await;
    webhooks::install(cluster.api(), &configuration)
        .await
        .unwrap();
    entry_once(cluster, kind, whole).await;
    webhooks::in_force(cluster.api(), &pod_for("trial", six("de-1")))
        .await
        .unwrap();
}

pub(super) async fn a_webhook_that_leads_elsewhere_or_was_exchanged_unseen_is_recorded(
    cluster: &mut Cluster,
) {
    let lists = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/touchstone";
    let kind = "webhooks-changed";
    let all = |entry: &Value| entry["gaps"].as_array().unwrap().len() == 6;
    let whole = |entry: &Value| entry["gaps"].as_array().unwrap().is_empty();
    let configuration = cluster.attestor(webhooks::validating).unwrap();
    let mut redirected = configuration.clone();
    let call = &mut redirected["webhooks"][0]["clientConfig"]["url"];
    *call = call
        .as_str()
        .unwrap()
        .replace("/validate", "/mutate")
        .into();
    webhooks::install(cluster.api(), &redirected).await.unwrap();
    entry_once(cluster, kind, all).await;
    webhooks::install(cluster.api(), &configuration)
        .await
        .unwrap();
    entry_once(cluster, kind, whole).await;
    // Taken away and put back while nobody looks: it is as it was, and another one.
    let uid = |found: Value| found["metadata"]["uid"].as_str().unwrap().to_owned();
    let before = uid(cluster.api().get(lists).await.unwrap());
    cluster.stop_attestor();
    cluster.api().delete(lists).await.unwrap();
    webhooks::install(cluster.api(), &configuration)
        .await
        .unwrap();
    cluster.start_attestor();
    let now = uid(cluster.api().get(lists).await.unwrap());
    assert_ne!(before, now);
    entry_once(cluster, kind, |entry| {
        entry["validating_uid"] == now && whole(entry)
    })
    .await;
    webhooks::in_force(cluster.api(), &pod_for("trial", six("de-1")))
        .await
        .unwrap();
}

/// Half of the fleet turning is a mistake of somebody's, not of the fleet; one host is one host.
pub(super) async fn too_many_that_turn_at_once_keep_their_pods_and_one_does_not(cluster: &Cluster) {
    // Its verdict ended a while ago; by now it is over with.
    tainted(cluster, "de-3", "NoExecute").await;
    let pod = pod_for("stays", six("de-1"));
    let stays = pods::create(cluster.api(), &pod).await.unwrap();
    assert_eq!(
        cluster.node_of(NAMESPACE, "stays").await,
        six("de-1").node()
    );
    for host in ["de-1", "us-1"] {
        let revoke = ["location", "revoke", "--host", host, "--reason", "moved"];
        cluster.world.server.command(&revoke);
    }
    for host in ["de-1", "us-1"] {
        labels_once(cluster, host, "none").await;
        tainted(cluster, host, "NoSchedule").await;
    }
    let held = entry(cluster, |entry| entry["kind"] == "evictions-held");
    let held = held.await;
    // Perhaps between the two: what lost its pods lately counts with the first.
    assert_eq!(held["held"], true);
    assert!(held["nodes"].as_u64() >= Some(1), "{held}");
    let path = pods::path(NAMESPACE, "stays");
    let pod = cluster.api().get(&path).await.unwrap();
    assert!(pod["metadata"].get("deletionTimestamp").is_none(), "{pod}");
    let turned = events::of_node(cluster, "de-1", "TouchstoneUntrusted").await;
    let message = turned["message"].as_str().unwrap();
    for part in ["(tier none: ", "`touchstone host explain de-1`"] {
        assert!(message.contains(part), "{turned}");
    }
    let held = events::of_node(cluster, "de-1", "TouchstoneHeld").await;
    assert_eq!(
        (&turned["type"], &held["type"]),
        (&json!("Warning"), &json!("Warning"))
    );

    let begun = Instant::now();
    let abroad = cluster.host("us-1");
    cluster.world.tag(abroad, "US");
    let outcome = abroad.attest(&cluster.world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    until("the pod is ended", PATIENCE, async || {
        Ok(cluster.api().find(&path).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    cluster.tell(
        "the breaker closed, until the pod of the host that turned is gone",
        begun,
    );
    let ended = entry(cluster, |entry| {
        entry["kind"] == "pod-ended" && entry["pod"] == "stays"
    })
    .await;
    assert_eq!(ended["host"], "de-1");
    assert_eq!(ended["refusals"][0], "tier-insufficient");
    tainted(cluster, "de-1", "NoExecute").await;
    let told = events::of_pod(cluster, &stays, "TouchstoneEnding").await;
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("tier-insufficient"), "{told}");
    events::of_node(cluster, "de-1", "TouchstoneEnding").await;
    events::of_node(cluster, "de-1", "TouchstoneReleased").await;
    let trusted = events::of_node(cluster, "us-1", "TouchstoneTrusted").await;
    assert_eq!(trusted["type"], "Normal");
    // Rounds went by meanwhile.
    let count = events::count_of_node(cluster, "de-1", "TouchstoneUntrusted");
    assert_eq!(count.await, 1);
}

pub(super) async fn a_host_that_turns_loses_its_pods(cluster: &Cluster) {
    let home = cluster.host("de-1");
    cluster.world.tag(home, "DE");
    let outcome = home.attest(&cluster.world.server).unwrap();
    assert_eq!(outcome["tier"], "affirming", "{outcome}");
    labels_once(cluster, "de-1", "affirming").await;
    let pod = pod_for("turns", six("de-1"));
    pods::create(cluster.api(), &pod).await.unwrap();
    assert_eq!(
        cluster.node_of(NAMESPACE, "turns").await,
        six("de-1").node()
    );
    let begun = Instant::now();
    cluster.world.server.command(&["host", "retire", "de-1"]);
    let path = pods::path(NAMESPACE, "turns");
    until("the pod is ended", PATIENCE, async || {
        Ok(cluster.api().find(&path).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    cluster.tell(
        "a host is taken out of service, until its pod is gone (grace 2 s)",
        begun,
    );
}
