//! Two clusters on one database, with nodes of one name: a host in one is nobody in the other.

use serde_json::{Value, json};
use tempfile::TempDir;
use touchstone_tests::cluster::{PATIENCE, assets, take_turn};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::review::{made_by, pod, running};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::kubernetes::{ControlPlane, namespaces, nodes, until};

use crate::admission::demanding;

const NODE: &str = "node-de-1";

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_on_one_database_share_nothing_but_the_hosts() {
    let Some(assets) = assets() else {
        return;
    };
    let _turn = take_turn();
    let folder = tempfile::tempdir().unwrap();
    let plane = ControlPlane::start(assets, folder.path()).await.unwrap();
    namespaces::create(plane.admin(), "touchstone")
        .await
        .unwrap();
    nodes::join(plane.admin(), NODE).await.unwrap();
    let maker = Maker::new();
    let world = World::start(&Database::postgres(), &maker);
    // A pod is to be what the first of its workload was, where a policy demands something of images.
    world.apply(&demanding("{}"));
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    let west = world.server.beside(&settings(&plane, &folder));
    let scene = Scene { world, west, plane };
    scene
        .a_node_of_the_same_name_in_another_cluster_is_nobody()
        .await;
    scene.a_host_is_behind_a_node_where_somebody_says_so().await;
    scene
        .a_workload_of_the_same_name_in_another_cluster_is_another_one()
        .await;
    scene
        .what_is_taken_back_in_one_cluster_stays_in_the_other()
        .await;
}

fn settings(plane: &ControlPlane, folder: &TempDir) -> String {
    let kubeconfig = plane.kubeconfig("west", Some("system:masters")).unwrap();
    let text = format!("cluster = 'west'\nkubeconfig = {kubeconfig:?}\n");
    let file = folder.path().join("west.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// An attestor whose cluster nobody named, and one that serves `west`: in each [`NODE`] is a node.
struct Scene {
    world: World,
    west: Server,
    plane: ControlPlane,
}

/// CREATE of a pod of a ReplicaSet on [`NODE`], with this image.
fn replica(uid: &str, byte: &str) -> Value {
    let image = format!("registry.example/api@sha256:{}", byte.repeat(32));
    let mut review = made_by(pod(uid, &running(&image)), "ReplicaSet", "rs-1", "r1");
    review["request"]["object"]["spec"]["nodeName"] = json!(NODE);
    review
}

impl Scene {
    async fn a_node_of_the_same_name_in_another_cluster_is_nobody(&self) {
        let (admitted, why) = self.world.server.review(&replica("u0", "0b")).await;
        assert!(admitted, "{why}");
        let (admitted, why) = self.west.review(&replica("u1", "0a")).await;
        assert!(!admitted && why.ends_with("(`node-unmapped`)"), "{why}");
        let entry = self.decided("u1");
        assert_eq!(entry["refusals"], json!(["node-unmapped"]));
        assert_eq!(
            (&entry["cluster"], &entry["host"]),
            (&json!("west"), &Value::Null)
        );
        assert_eq!(self.decided("u0")["cluster"], "default");
    }

    async fn a_host_is_behind_a_node_where_somebody_says_so(&self) {
        let node = self.plane.admin().get(&nodes::path(NODE)).await.unwrap();
        let uid = node["metadata"]["uid"].as_str().unwrap();
        let map = ["node", "map", NODE, "de-1", "--cluster", "west", "--uid"];
        self.world.server.command(&[&map[..], &[uid]].concat());
        let admitted = async || {
            let (admitted, _) = self.west.review(&replica("u2", "0a")).await;
            Ok(admitted.then_some(()))
        };
        until("the mapping came to `west`", PATIENCE, admitted)
            .await
            .unwrap();
        assert_eq!(self.decided("u2")["host"], "de-1");
    }

    /// Each recorded it by another image above.
    async fn a_workload_of_the_same_name_in_another_cluster_is_another_one(&self) {
        let (admitted, why) = self.world.server.review(&replica("u3", "0b")).await;
        assert!(admitted, "{why}");
        let (admitted, why) = self.west.review(&replica("u4", "0b")).await;
        assert!(!admitted && why.ends_with("(`workload-changed`)"), "{why}");
        let shown = self
            .world
            .server
            .command(&["workload", "show", "payments/api"]);
        let of = |cluster: &str| -> Vec<&Value> {
            let all = shown["workloads"].as_array().unwrap().iter();
            all.filter(|of| of["cluster"] == cluster && of["uid"] == "rs-1")
                .collect()
        };
        let (here, there) = (of("default"), of("west"));
        assert_eq!((here.len(), there.len()), (1, 1), "{shown}");
        assert_ne!(here[0]["images"], there[0]["images"]);
    }

    async fn what_is_taken_back_in_one_cluster_stays_in_the_other(&self) {
        let server = &self.world.server;
        server.command(&["node", "unmap", NODE]);
        let (admitted, why) = server.review(&replica("u5", "0b")).await;
        assert!(!admitted && why.ends_with("(`node-unmapped`)"), "{why}");
        let (admitted, why) = self.west.review(&replica("u6", "0a")).await;
        assert!(admitted, "{why}");
        server.command(&["node", "unmap", NODE, "--cluster", "west"]);
        let refused = async || Ok((!self.west.review(&replica("u7", "0a")).await.0).then_some(()));
        until("it is taken back in `west` too", PATIENCE, refused)
            .await
            .unwrap();
    }

    /// The last entry about a pod.
    fn decided(&self, uid: &str) -> Value {
        let entries = self.world.server.decisions();
        let found = entries.into_iter().rfind(|entry| entry["pod_uid"] == uid);
        found.unwrap()
    }
}
