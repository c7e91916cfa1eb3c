//! Nodes that reboot, by their kubelets' word; kubelets that write all the time; and objects that nobody can read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use touchstone_tests::cluster::{Cluster, PATIENCE, pod_for, six};
use touchstone_tpm_sim::kubernetes::{nodes, pods, until};
use touchstone_tpm_sim::six_nodes::NAMESPACE;

use super::marks::{TIER, labels_once, tainted};

pub(super) async fn a_node_that_rebooted_loses_its_pods_until_it_proves_itself(
    cluster: &mut Cluster,
) {
    boots(cluster, "boot-1").await;
    mended(cluster).await;
    let pod = pod_for("before-reboot", six("de-1"));
    pods::create(cluster.api(), &pod).await.unwrap();
    let node = cluster.node_of(NAMESPACE, "before-reboot").await;
    assert_eq!(node, six("de-1").node());

    boots(cluster, "boot-2").await;
    rebooted(cluster, "boot-2").await;
    labels_once(cluster, "de-1", "none").await;
    tainted_as(cluster, "rebooted").await;
    assert_eq!(refused(cluster, "after-reboot").await, "host-rebooted");
    let path = pods::path(NAMESPACE, "before-reboot");
    until("the pod is ended", PATIENCE, async || {
        Ok(cluster.api().find(&path).await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    let entries = cluster.world.server.audit_entries();
    let mut entries = entries.iter();
    let ended =
        entries.rfind(|entry| entry["kind"] == "pod-ended" && entry["pod"] == "before-reboot");
    assert_eq!(ended.unwrap()["refusals"][1], "host-rebooted");
    proves_itself(cluster).await;

    // Nobody leads while it reboots.
    cluster.stop_attestor();
    boots(cluster, "boot-3").await;
    cluster.start_attestor();
    rebooted(cluster, "boot-3").await;
    assert_eq!(refused(cluster, "after-restart").await, "host-rebooted");
    proves_itself(cluster).await;
}

async fn proves_itself(cluster: &Cluster) {
    // The first answers the challenge that the agent had from the round before.
    for _ in 0..2 {
        let outcome = cluster.host("de-1").attest(&cluster.world.server).unwrap();
        assert_eq!(outcome["tier"], "affirming", "{outcome}");
    }
    labels_once(cluster, "de-1", "affirming").await;
}

/// The kubelet of `de-1` reports this boot.
async fn boots(cluster: &Cluster, boot: &str) {
    let mut info = json!({ "bootID": boot });
    for field in [
        "machineID",
        "systemUUID",
        "kernelVersion",
        "osImage",
        "containerRuntimeVersion",
        "kubeletVersion",
        "kubeProxyVersion",
        "operatingSystem",
        "architecture",
    ] {
        info[field] = "a".into();
    }
    let path = format!("{}/status", nodes::path(&six("de-1").node()));
    let part = json!({ "status": { "nodeInfo": info } });
    cluster.api().patch(&path, &part).await.unwrap();
}

async fn rebooted(cluster: &Cluster, boot: &str) {
    until("the reboot is an entry", PATIENCE, async || {
        let entries = cluster.world.server.audit_entries();
        let found = |entry: &Value| entry["kind"] == "node-rebooted" && entry["boot"] == boot;
        Ok(entries.iter().any(found).then_some(()))
    })
    .await
    .unwrap();
}

/// Once more around: whatever the attestor was to see before, it has seen.
async fn mended(cluster: &Cluster) {
    let path = nodes::path(&six("de-1").node());
    let part = json!({ "metadata": { "labels": { TIER: null } } });
    cluster.api().patch(&path, &part).await.unwrap();
    labels_once(cluster, "de-1", "affirming").await;
}

/// Why the tier of `de-1` is not enough for a pod.
async fn refused(cluster: &Cluster, name: &str) -> String {
    let mut pod = pod_for(name, six("de-1"));
    pod["spec"]["nodeName"] = six("de-1").node().into();
    pods::create(cluster.api(), &pod).await.unwrap_err();
    let decisions = cluster.decisions(name);
    let refusals = decisions.last().unwrap()["refusals"].as_array().unwrap();
    assert_eq!(refusals[0], "tier-insufficient", "{refusals:?}");
    refusals[1].as_str().unwrap().to_owned()
}

async fn tainted_as(cluster: &Cluster, value: &str) {
    let path = nodes::path(&six("de-1").node());
    until("our taint says why", PATIENCE, async || {
        let node = cluster.api().get(&path).await?;
        let taints = node["spec"]["taints"].as_array().into_iter().flatten();
        let mut ours = taints.filter(|taint| taint["key"] == "touchstone.dev/untrusted");
        Ok(ours.any(|taint| taint["value"] == value).then_some(()))
    })
    .await
    .unwrap();
}

/// A time that API servers take, and hardly anybody else: with it in one pod, all pods could not be listed.
pub(super) async fn a_pod_that_is_written_strangely_keeps_nobody_from_the_others(
    cluster: &mut Cluster,
) {
    let mut pod = pods::pod(NAMESPACE, "strange", "strange");
    pod["spec"]["schedulerName"] = "nobody".into();
    pods::create(cluster.api(), &pod).await.unwrap();
    let fields = json!([{
        "manager": "strange", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": "9999-12-31T23:59:59Z",
        "fieldsV1": { "f:spec": { "f:schedulerName": {} } },
    }]);
    let path = pods::path(NAMESPACE, "strange");
    let part = json!({ "metadata": { "managedFields": fields } });
    let patched = cluster.api().patch(&path, &part).await.unwrap();
    let kept = patched["metadata"]["managedFields"].to_string();
    assert!(kept.contains("9999-12-31"), "{kept}");
    // From nothing: it lists anew.
    cluster.stop_attestor();
    cluster.start_attestor();
    mended(cluster).await;
    cluster.api().delete(&path).await.unwrap();
}

pub(super) async fn a_kubelet_that_writes_all_the_time_keeps_no_taint_off(cluster: &Cluster) {
    let node = six("us-1").node();
    let ended = Arc::new(AtomicBool::new(false));
    let writes = Arc::new(AtomicUsize::new(0));
    let write = async |kubelet: usize| {
        let path = nodes::path(&node);
        for number in 0.. {
            if ended.load(Ordering::SeqCst) {
                return;
            }
            let busy = format!("busy-{kubelet}");
            let part = json!({ "metadata": { "labels": { busy: number.to_string() } } });
            cluster.api().patch(&path, &part).await.unwrap();
            writes.fetch_add(1, Ordering::SeqCst);
        }
    };
    let taint = async || {
        until("the kubelet writes", PATIENCE, async || {
            Ok((writes.load(Ordering::SeqCst) > 100).then_some(()))
        })
        .await
        .unwrap();
        let revoke = ["location", "revoke", "--host", "us-1", "--reason", "moved"];
        cluster.world.server.command(&revoke);
        let begun = std::time::Instant::now();
        tainted(cluster, "us-1", "NoSchedule").await;
        labels_once(cluster, "us-1", "none").await;
        cluster.tell(
            "a verdict is void, its node written all the time: tainted after",
            begun,
        );
        assert!(begun.elapsed().as_secs() < 5);
        ended.store(true, Ordering::SeqCst);
    };
    tokio::join!(
        write(0),
        write(1),
        write(2),
        write(3),
        write(4),
        write(5),
        taint()
    );
}
