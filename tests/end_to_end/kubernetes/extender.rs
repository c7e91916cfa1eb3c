//! A real scheduler that asks our extender before it chooses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchstone_tests::cluster::{Cluster, PATIENCE, pod, pod_for, six};
use touchstone_tpm_sim::kubernetes::{pods, until};
use touchstone_tpm_sim::six_nodes::NAMESPACE;

/// Pods that could go to each of six nodes, for all that the scheduler knows by itself.
const PODS: usize = 6;

pub(super) async fn the_scheduler_asks_before_it_chooses(cluster: &mut Cluster) {
    let extender = extender(cluster);
    cluster.plane.schedule_by(&extender).unwrap();
    for pod_number in 0..PODS {
        let name = format!("asked-{pod_number}");
        pods::create(cluster.api(), &pod(&name)).await.unwrap();
        let node = cluster.node_of(NAMESPACE, &name).await;
        assert_eq!(node, six("de-1").node());
        // It bound none in vain.
        let decisions = cluster.decisions(&name);
        assert_eq!(decisions.len(), 1, "{decisions:?}");
        assert_eq!(decisions[0]["admitted"], true);
    }
    cluster.plane.still_runs().unwrap();
}

pub(super) async fn where_no_node_passes_the_pod_says_why(cluster: &Cluster) {
    let abroad = pod_for("asked-abroad", six("us-1"));
    pods::create(cluster.api(), &abroad).await.unwrap();
    let path = pods::path(NAMESPACE, "asked-abroad");
    until("the scheduler repeats our reason", PATIENCE, async || {
        let pod = cluster.api().get(&path).await?;
        Ok(match pods::placed(&pod) {
            Some(pods::Placement::Waiting(why)) if why.contains("outside the region") => Some(()),
            _ => None,
        })
    })
    .await
    .unwrap();
    assert!(cluster.decisions("asked-abroad").is_empty());
}

/// The extender of docs/operators/clusters.md, by the secret of the webhook.
fn extender(cluster: &Cluster) -> Value {
    let operator = cluster.world.server.operator();
    let webhook = operator["webhook"].as_str().unwrap();
    let (_, secret) = webhook.rsplit_once('/').unwrap();
    let url = &cluster.world.server.url;
    json!({
        "urlPrefix": format!("{url}/kubernetes/v1/extender"),
        "filterVerb": format!("filter/{secret}"),
        "prioritizeVerb": format!("prioritize/{secret}"),
        "weight": 1,
        "nodeCacheCapable": true,
        "ignorable": true,
        "httpTimeout": "2s",
        "enableHTTPS": true,
        "tlsConfig": { "caData": STANDARD.encode(operator["ca"].as_str().unwrap()) },
    })
}
