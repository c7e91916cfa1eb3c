//! What the scheduler places, and what the webhook makes of it.

use std::time::Instant;

use touchstone_tests::cluster::{Cluster, ELSEWHERE, PATIENCE, pod_for, six};
use touchstone_tpm_sim::kubernetes::{pods, until};
use touchstone_tpm_sim::six_nodes::{ALL, NAMESPACE, Six};

pub(super) async fn of_six_nodes_only_the_proven_one_in_germany_gets_the_pod(cluster: &Cluster) {
    until_its_verdict_is_over(cluster, six("de-3")).await;
    for six in &ALL {
        let name = format!("api-{}", six.host);
        let begun = Instant::now();
        pods::create(cluster.api(), &pod_for(&name, six))
            .await
            .unwrap();
        let Some(refused) = six.refused else {
            assert_eq!(cluster.node_of(NAMESPACE, &name).await, six.node());
            cluster.tell("pod created until bound", begun);
            continue;
        };
        let why = cluster.kept_from_its_node(NAMESPACE, &name).await;
        cluster.tell(&format!("pod created until {} is refused", six.host), begun);
        assert!(why.contains(refused.words), "{}: {why}", six.host);
        assert_eq!(cluster.refusal(&name), refused.code, "{}", six.host);
        has_event(cluster, &name, refused.words).await;
    }
    // Nothing that was refused has landed meanwhile.
    for six in ALL.iter().filter(|six| six.refused.is_some()) {
        let path = pods::path(NAMESPACE, &format!("api-{}", six.host));
        let pod = cluster.api().get(&path).await.unwrap();
        assert_eq!(pod["spec"].get("nodeName"), None, "{}", six.host);
    }
}

pub(super) async fn what_no_policy_is_for_runs_anywhere(cluster: &Cluster) {
    let altered = six("de-2");
    for namespace in [ELSEWHERE, "kube-system"] {
        let pod = pods::pinned(pods::pod(namespace, "web", "web"), &altered.node());
        pods::create(cluster.api(), &pod).await.unwrap();
        assert_eq!(cluster.node_of(namespace, "web").await, altered.node());
    }
    assert!(cluster.decisions("web").is_empty());
}

pub(super) async fn a_pod_that_a_controller_makes_is_judged_as_any(cluster: &Cluster) {
    let deployment = pods::deployment("ledger", &pod_for("", six("us-1")), 1);
    pods::deploy(cluster.api(), &deployment).await.unwrap();
    let made = until("the controller makes the pod", PATIENCE, async || {
        let mut pods = pods::of_deployment(cluster.api(), NAMESPACE, "ledger").await?;
        Ok(pods.pop())
    });
    let name = made.await.unwrap()["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let why = cluster.kept_from_its_node(NAMESPACE, &name).await;
    assert!(why.contains("outside the region"), "{why}");
    assert_eq!(cluster.refusal(&name), "region-mismatch");
}

async fn until_its_verdict_is_over(cluster: &Cluster, six: &Six) {
    let path = format!("/v1/hosts/{}", six.host);
    let what = format!("the verdict of {} is over", six.host);
    until(&what, PATIENCE, async || {
        let view = cluster.world.server.get(&path).await;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let over = view["expires_at"].as_u64() < Some(now.unwrap().as_secs());
        Ok(over.then_some(()))
    })
    .await
    .unwrap();
}

/// Whoever asked for the pod reads it there.
async fn has_event(cluster: &Cluster, pod: &str, words: &str) {
    let path =
        format!("/api/v1/namespaces/{NAMESPACE}/events?fieldSelector=involvedObject.name={pod}");
    until("an event says why", PATIENCE, async || {
        let events = cluster.api().get(&path).await?;
        let mut events = events["items"].as_array().unwrap().iter();
        let said = |event: &serde_json::Value| {
            event["message"]
                .as_str()
                .is_some_and(|message| message.contains(words))
        };
        Ok(events.any(said).then_some(()))
    })
    .await
    .unwrap();
}
