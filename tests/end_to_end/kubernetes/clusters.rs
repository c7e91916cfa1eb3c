//! Two clusters on one database, with nodes of one name: a host in one is nobody in the other.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use touchstone_tests::cluster::{PATIENCE, assets, manifests, take_turn};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::review::{made_by, pod, running};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World};
use touchstone_tpm_sim::kubernetes::{ControlPlane, namespaces, nodes, until};

use super::objects;
use crate::admission::demanding;

const NODE: &str = "node-de-1";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// What the one holds that acts on a cluster.
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/touchstone/leases/touchstone-controller";

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
    let west = world.server.beside(&settings(&plane, &folder, "west"));
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
    scene
        .another_cluster_under_the_name_is_refused_as_soon_as_it_answers()
        .await;
}

fn settings(plane: &ControlPlane, folder: &TempDir, name: &str) -> String {
    let kubeconfig = plane.kubeconfig("attestor", Some("system:masters"));
    let text = format!(
        "cluster = {name:?}\nkubeconfig = {:?}\n",
        kubeconfig.unwrap()
    );
    let file = folder.path().join(format!("{name}.toml"));
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

    async fn another_cluster_under_the_name_is_refused_as_soon_as_it_answers(self) {
        let Self { world, west, plane } = self;
        let bound = uid(&plane, "/api/v1/namespaces/kube-system").await;
        let bindings = [("west".to_owned(), bound.clone())];
        assert_eq!(bindings_of(&world.server), bindings);
        drop((west, plane));
        let folder = tempfile::tempdir().unwrap();
        let mut plane = ControlPlane::start(assets().unwrap(), folder.path())
            .await
            .unwrap();
        namespaces::create(plane.admin(), "touchstone")
            .await
            .unwrap();
        nodes::join(plane.admin(), NODE).await.unwrap();
        let node = uid(&plane, &nodes::path(NODE)).await;
        let found = uid(&plane, "/api/v1/namespaces/kube-system").await;
        // All would be well, but that it is not the cluster of the name.
        let map = ["node", "map", NODE, "de-1", "--cluster", "west", "--uid"];
        world.server.command(&[&map[..], &[&node]].concat());
        let file = settings(&plane, &folder, "west");
        plane.cut_power();
        let another = world.server.beside(&file);
        let (admitted, why) = another.review(&replica("u8", "0a")).await;
        assert!(!admitted, "{why}");
        assert_eq!(passes(&another).await, json!([]));
        plane.begin().await.unwrap();
        let refused = async || {
            let (admitted, why) = another.review(&replica("u8", "0a")).await;
            assert!(!admitted, "{why}");
            Ok(why.ends_with("(cluster-replaced)").then_some(why))
        };
        let why = until("it answers", PATIENCE, refused).await.unwrap();
        assert!(why.contains(&bound) && why.contains(&found), "{why}");
        assert_eq!(passes(&another).await, json!([]));
        // Nor is anything taken that is written there.
        let (allowed, why) = another.review(&objects::creation()).await;
        assert!(!allowed && why.ends_with("(cluster-replaced)"), "{why}");
        assert!(!is_reachable(&world.server, &another).await);
        // Nobody does anything there, and nothing is written down of it.
        assert_eq!(plane.admin().find(LEASE).await.unwrap(), None);
        let decisions = world.server.decisions();
        assert!(decisions.iter().all(|entry| entry["pod_uid"] != "u8"));
        assert_eq!(bindings_of(&world.server), bindings);
        drop(another);
        // Under a name of its own it is as good as any.
        world.server.command(
            &[
                &map[..4],
                &["--replace", "--cluster", "east", "--uid", &node],
            ]
            .concat(),
        );
        for object in manifests("crds.yaml") {
            plane.admin().create(DEFINITIONS, &object).await.unwrap();
        }
        let file_of_east = settings(&plane, &folder, "east");
        let mut text = std::fs::read_to_string(&file_of_east).unwrap();
        text.push_str("policies = 'objects'\n");
        std::fs::write(&file_of_east, text).unwrap();
        let east = world.server.beside(&file_of_east);
        let (admitted, why) = east.review(&replica("u9", "0a")).await;
        assert!(admitted, "{why}");
        let leads = async || plane.admin().find(LEASE).await;
        until("somebody leads there", PATIENCE, leads)
            .await
            .unwrap();
        assert!(is_reachable(&world.server, &east).await);
        let bindings = [bindings, [("east".to_owned(), found)]].concat();
        assert_eq!(bindings_of(&world.server), bindings);
        objects::whoever_writes_a_policy_object_is_in_the_log(&world.server, &east).await;
        drop(east);
        Self::an_attestor_of_another_cluster_goes_on_with_hosts(world, &file, &node);
    }

    fn an_attestor_of_another_cluster_goes_on_with_hosts(
        mut world: World,
        settings: &str,
        node: &str,
    ) {
        let server = &mut world.server;
        let database = server.database();
        server.restart_with(&database, &["--kubernetes", settings]);
        let map = ["node", "map", NODE, "de-1", "--replace", "--uid", node];
        assert_eq!(server.refusal(&map), "cluster-replaced");
        let shown = server.command(&["host", "show", "de-1"]);
        assert_eq!(shown["tier"], "affirming");
    }

    /// The last entry about a pod.
    fn decided(&self, uid: &str) -> Value {
        let entries = self.world.server.decisions();
        let found = entries.into_iter().rfind(|entry| entry["pod_uid"] == uid);
        found.unwrap()
    }
}

/// The uid of an object of the cluster.
async fn uid(plane: &ControlPlane, path: &str) -> String {
    let object = plane.admin().get(path).await.unwrap();
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Names and uids of clusters, as entries have them.
fn bindings_of(server: &Server) -> Vec<(String, String)> {
    let entries = server.audit_entries().into_iter();
    let bound = entries.filter(|entry| entry["kind"] == "cluster-bound");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    bound
        .map(|entry| (text(&entry["cluster"]), text(&entry["uid"])))
        .collect()
}

/// Which of the nodes a scheduler is let.
async fn passes(server: &Server) -> Value {
    let review = replica("u8", "0a");
    let pod = &review["request"]["object"];
    let answer = server.extender("filter", pod, &[NODE]).await;
    answer["NodeNames"].clone()
}

/// Whether `of` says that its cluster is there, and the one that is meant.
async fn is_reachable(attestor: &Server, of: &Server) -> bool {
    let operator = attestor.operator();
    let token = operator["token"].as_str();
    let (_, text) = of.send(Method::GET, "/metrics", token, None).await;
    let text = text.as_str().unwrap().to_owned();
    text.contains("\ntouchstone_cluster_reachable 1\n")
}
