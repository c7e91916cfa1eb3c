//! A real kubelet on a real containerd: behind the node of a proven host, until that turns; and behind the node of a host
//! that is not proven, with a pod that it reads from a file.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;
use touchstone_tests::cluster::{Cluster, PATIENCE, pod, six};
use touchstone_tests::containers::registry::Registry;
use touchstone_tests::containers::tool;
use touchstone_tests::kubelet::Kubelet;
use touchstone_tpm_sim::kubernetes::{Assets, nodes, pods, until, webhooks};
use touchstone_tpm_sim::six_nodes::{NAMESPACE, policy};
use touchstone_tpm_sim::swtpm::Bank;

use super::marks::{labels_once, until_mutated};
use crate::unwrapping::built::{Built, SECRET};
use crate::unwrapping::machine::{Machine, RUNS};

/// A cluster whose attestor watches it and demands encrypted images, and such an image.
pub(super) struct Scene {
    cluster: Cluster,
    built: Built,
    kubelet: PathBuf,
    kubectl: PathBuf,
    home: TempDir,
}

impl Scene {
    /// Enough of a grace that who asked for a pod of a host that turned can read why.
    const SETTINGS: &str = "grace-seconds = 10\nbreaker-percent = 50\n";

    pub(super) async fn start(assets: Assets, kubelet: PathBuf) -> Self {
        let kubectl = assets.also("kubectl").unwrap();
        let registry = Registry::start();
        let plain = ["--plain-http-registry", registry.address()];
        let cluster = Cluster::start_watched_with(assets, Self::SETTINGS, &plain).await;
        let mutating = cluster.attestor(webhooks::mutating).unwrap();
        webhooks::install(cluster.api(), &mutating).await.unwrap();
        until_mutated(&cluster, true).await;
        let host = "  host:\n    tier: affirming\n";
        let images = format!("  images: {{encrypted: true}}\n{host}");
        cluster.world.apply(&policy().replace(host, &images));
        Self {
            built: Built::into(registry, &cluster.world.server),
            cluster,
            kubelet,
            kubectl,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// The machine of a host, and the kubelet on it, once its node is ready.
    async fn node(&self, host: &str) -> (Machine, Kubelet) {
        let begun = Instant::now();
        let cluster = &self.cluster;
        let (server, node) = (&cluster.world.server, six(host).node());
        let machine = Machine::of(cluster.host(host), server, &self.built.registry);
        cluster.api().delete(&nodes::path(&node)).await.unwrap();
        let kubelet = Kubelet::start(&self.kubelet, &cluster.plane, &node, &machine.containerd);
        let ready = until("the kubelet's node is ready", PATIENCE, async || {
            let node = cluster.api().find(&nodes::path(&node)).await?;
            Ok(node.filter(is_ready).map(drop))
        });
        ready
            .await
            .unwrap_or_else(|error| panic!("{error}:\n{}", kubelet.said()));
        cluster.tell("a kubelet starts until its node is ready", begun);
        // It is another node than the entry of its name was.
        server.command(&["node", "map", &node, host]);
        let _labels = labels_once(cluster, host, six(host).tier).await;
        (machine, kubelet)
    }

    /// A pod of the policy that runs the image, in the host's network: nobody made another.
    fn pod(&self, name: &str) -> Value {
        let mut pod = pod(name);
        let spec = &mut pod["spec"];
        spec["hostNetwork"] = true.into();
        spec["terminationGracePeriodSeconds"] = 1.into();
        spec["containers"][0]["image"] = self.built.by_digest().into();
        spec["containers"][0]["command"] = RUNS.to_vec().into();
        pod
    }

    /// What kubectl says to a person.
    fn kubectl(&self, arguments: &[&str]) -> String {
        let who = self
            .cluster
            .plane
            .kubeconfig("person", Some("system:masters"));
        let mut command = Command::new(&self.kubectl);
        command
            .env("HOME", self.home.path())
            .arg("--kubeconfig")
            .arg(who.unwrap())
            .args(["--namespace", NAMESPACE])
            .args(arguments);
        tool::run(&mut command).good()
    }

    /// Waits until a kubectl command says something.
    async fn said(&self, arguments: &[&str], words: &str) {
        until(words, PATIENCE, async || {
            let said = self.kubectl(arguments);
            Ok(said.contains(words).then_some(()))
        })
        .await
        .unwrap();
    }
}

/// Its kubelet says so, and the controller that taints it until then has heard it.
fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let taints = node["spec"]["taints"].as_array();
    let mut taints = taints.into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
        && !taints.any(|taint| taint["key"] == "node.kubernetes.io/not-ready")
}

pub(super) async fn a_pod_runs_on_the_proven_host_and_ends_when_that_turns(scene: &Scene) {
    let (cluster, built) = (&scene.cluster, &scene.built);
    let (mut machine, kubelet) = scene.node("de-1").await;
    let begun = Instant::now();
    pods::create(cluster.api(), &scene.pod("served"))
        .await
        .unwrap();
    let node = cluster.node_of(NAMESPACE, "served").await;
    assert_eq!(node, six("de-1").node());
    cluster.tell("pod created until bound", begun);
    let path = pods::path(NAMESPACE, "served");
    let container = until("the kubelet runs the pod", PATIENCE, async || {
        let status = cluster.api().get(&path).await?["status"].clone();
        let container = status["containerStatuses"][0].clone();
        Ok((status["phase"] == "Running").then_some(container))
    });
    let container = container
        .await
        .unwrap_or_else(|error| panic!("{error}:\n{}", kubelet.said()));
    cluster.tell("pod created until decrypted and running", begun);
    assert!(container["state"].get("running").is_some(), "{container}");
    let image = container["imageID"].as_str().unwrap();
    assert!(image.ends_with(&built.digest().to_string()), "{image}");
    until("the container says its secret", PATIENCE, async || {
        Ok(machine.containerd.heard(SECRET).then_some(()))
    })
    .await
    .unwrap();
    assert!(built.lies_open_on(&machine.containerd));

    let begun = Instant::now();
    let host = cluster.host("de-1");
    host.tpm.extend(4, &[(Bank::Sha256, vec![7; 32])]).unwrap();
    machine.attest();
    machine.agent.wait_for("the attestor knows what was purged");
    cluster.tell("the host turns until its image is purged", begun);
    assert!(!built.lies_open_on(&machine.containerd));
    // The kubelet starts the container anew, and is refused its image.
    scene.said(&["describe", "pod", "served"], "PCR 4").await;
    cluster.tell(
        "the host turns until `kubectl describe pod` says why",
        begun,
    );
    let ended = until("the attestor ends the pod", PATIENCE, async || {
        let mut entries = cluster.world.server.audit_entries().into_iter();
        Ok(entries.find(|entry| entry["kind"] == "pod-ended" && entry["pod"] == "served"))
    });
    let ended = ended.await.unwrap();
    cluster.tell(
        "the host turns until its pod is told to end (grace 10 s)",
        begun,
    );
    assert_eq!(
        (&ended["host"], &ended["refusals"][0]),
        (&"de-1".into(), &"tier-insufficient".into())
    );
    until("the pod is gone", PATIENCE, async || {
        let found = cluster.api().find(&path).await?;
        let runs = !machine.containerd.running().is_empty();
        Ok((found.is_none() && !runs).then_some(()))
    })
    .await
    .unwrap();
    cluster.tell("the host turns until nothing of the pod runs", begun);
    assert!(!built.lies_open_on(&machine.containerd));
    assert!(
        machine
            .containerd
            .names_of(&built.digest().to_string())
            .is_empty()
    );
}

pub(super) async fn a_static_pod_gets_no_plaintext_on_an_unattested_host(scene: &Scene) {
    let (cluster, built) = (&scene.cluster, &scene.built);
    let (machine, kubelet) = scene.node("de-2").await;
    let begun = Instant::now();
    kubelet.run(&scene.pod("planted"));
    // No object of the cluster is this pod; its events are there all the same.
    scene
        .said(&["get", "events"], "kernel command line changed")
        .await;
    cluster.tell(
        "a static pod planted until an event says why it does not run",
        begun,
    );
    let name = format!("planted-{}", six("de-2").node());
    until("its mirror is judged", PATIENCE, async || {
        Ok((!cluster.decisions(&name).is_empty()).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(cluster.refusal(&name), "pod-static");
    let came_of_it =
        match built.lies_open_on(&machine.containerd) || machine.containerd.heard(SECRET) {
            true => "plaintext",
            false => "no-plaintext",
        };
    assert_eq!(came_of_it, "no-plaintext");
}
