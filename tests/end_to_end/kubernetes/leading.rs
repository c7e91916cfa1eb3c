//! An attestor and its API server: what it says while that is away, and who leads after an orderly stop.

use std::time::{Duration, Instant};

use serde_json::Value;
use touchstone_tests::cluster::{Cluster, PATIENCE};
use touchstone_tpm_sim::kubernetes::until;

const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/touchstone/leases/touchstone-controller";
const REACHABLE: &str = "touchstone_cluster_reachable";
const GAPS: &str = "touchstone_webhook_gaps";

pub(super) async fn an_api_server_that_is_away_is_seen_and_so_is_its_return(cluster: &mut Cluster) {
    exposes(cluster, REACHABLE, Some("1")).await;
    exposes(cluster, GAPS, Some("0")).await;
    cluster.plane.cut_power();
    exposes(cluster, REACHABLE, Some("0")).await;
    // Nobody knows, which is not none.
    exposes(cluster, GAPS, None).await;
    cluster.plane.begin().await.unwrap();
    exposes(cluster, REACHABLE, Some("1")).await;
    exposes(cluster, GAPS, Some("0")).await;
}

pub(super) async fn the_next_one_leads_at_once_after_an_orderly_stop(cluster: &mut Cluster) {
    let first = holder_once(cluster, |_| true).await;
    let rival = cluster.rival();
    // It looks for the Lease by now: it told that it serves, and its watches answered.
    until("the rival sees the cluster", PATIENCE, async || {
        let seen = rival.metric(REACHABLE).await == 1.0;
        Ok(seen.then_some(()))
    })
    .await
    .unwrap();
    cluster.stop_attestor();
    let begun = Instant::now();
    let next = holder_once(cluster, |holder| !holder.is_empty() && holder != first).await;
    let took = begun.elapsed();
    cluster.tell("after an orderly stop another one leads", begun);
    assert!(took < Duration::from_secs(1), "{took:?}");
    let machine = std::env::var("HOSTNAME").ok();
    let machine = machine.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let machine = machine.unwrap();
    for holder in [&first, &next] {
        let random = holder.strip_prefix(&format!("{}_", machine.trim()));
        assert!(random.is_some_and(|random| random.len() == 16), "{holder}");
    }
}

/// Waits until the attestor says so of a metric; `None`: it does not name it.
async fn exposes(cluster: &Cluster, name: &str, value: Option<&str>) {
    let what = format!("`{name}` is {value:?}");
    until(&what, PATIENCE, async || {
        let text = cluster.world.server.text("/metrics").await;
        let mut lines = text.lines();
        let said = lines.find_map(|line| line.strip_prefix(&format!("{name} ")));
        Ok((said == value).then_some(()))
    })
    .await
    .unwrap();
}

async fn holder_once(cluster: &Cluster, wanted: impl Fn(&str) -> bool) -> String {
    until("somebody leads", PATIENCE, async || {
        let lease = cluster.api().find(LEASE).await?.unwrap_or(Value::Null);
        let holder = lease["spec"]["holderIdentity"].as_str();
        Ok(holder
            .filter(|holder| wanted(holder))
            .map(ToOwned::to_owned))
    })
    .await
    .unwrap()
}
