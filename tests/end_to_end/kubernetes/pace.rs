//! How long bad evidence takes to keep pods off its host's node, and to end those there.

use std::time::{Duration, Instant};

use touchstone_tests::cluster::{Cluster, PATIENCE, pod_for, six};
use touchstone_tests::host::Host;
use touchstone_tpm_sim::kubernetes::{pods, until};
use touchstone_tpm_sim::six_nodes::NAMESPACE;
use touchstone_tpm_sim::swtpm::Bank;

use super::marks::{labels_once, tainted};

/// Turns that are looked at.
const TURNS: usize = 10;
/// Until the node is tainted.
const TAINTED_MAX: Duration = Duration::from_secs(1);
/// Until its pod is told to end, where no grace is given.
const ENDED_MAX: Duration = Duration::from_secs(2);

pub(super) async fn bad_evidence_taints_its_node_and_ends_its_pods_at_once(cluster: &Cluster) {
    let host = cluster.host("de-1");
    let (mut to_taint, mut to_end) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let name = format!("turn-{turn}");
        pods::create(cluster.api(), &pod_for(&name, six("de-1")))
            .await
            .unwrap();
        cluster.node_of(NAMESPACE, &name).await;
        host.tpm.extend(4, &[(Bank::Sha256, vec![7; 32])]).unwrap();
        // The agent's own time counts.
        let begun = Instant::now();
        let outcome = host.attest(&cluster.world.server).unwrap();
        assert_eq!(outcome["tier"], "contraindicated", "{outcome}");
        let tainted = async {
            tainted(cluster, "de-1", "NoSchedule").await;
            begun.elapsed()
        };
        let ended = async {
            told_to_end(cluster, &name).await;
            begun.elapsed()
        };
        let (tainted, ended) = tokio::join!(tainted, ended);
        to_taint.push(tainted);
        to_end.push(ended);
        recover(cluster, host).await;
    }
    told(
        cluster,
        "bad evidence until the taint",
        to_taint,
        TAINTED_MAX,
    );
    told(
        cluster,
        "bad evidence until its pod ends",
        to_end,
        ENDED_MAX,
    );
}

async fn told_to_end(cluster: &Cluster, name: &str) {
    let path = pods::path(NAMESPACE, name);
    until("the pod is told to end", PATIENCE, async || {
        let pod = cluster.api().find(&path).await?;
        let ends = pod.is_none_or(|pod| pod["metadata"].get("deletionTimestamp").is_some());
        Ok(ends.then_some(()))
    })
    .await
    .unwrap();
}

/// As it was; its first round answers the challenge from before.
async fn recover(cluster: &Cluster, host: &Host) {
    host.reboot();
    for _ in 0..2 {
        host.attest(&cluster.world.server).unwrap();
    }
    labels_once(cluster, "de-1", "affirming").await;
}

fn told(cluster: &Cluster, what: &str, mut times: Vec<Duration>, most: Duration) {
    times.sort_unstable();
    let (middle, worst) = (times[TURNS / 2], times[TURNS - 1]);
    let version = cluster.plane.version();
    eprintln!("live, {version}: {what}, {TURNS} turns: median {middle:.2?}, worst {worst:.2?}");
    assert!(worst <= most, "{what}: {times:.2?}");
}
