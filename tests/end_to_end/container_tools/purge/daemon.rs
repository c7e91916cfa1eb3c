//! The daemon watches its own verdict, goes on with its rounds, and tells the attestor.

use std::process::Command;

use touchstone_tests::containers::containerd::Containerd;
use touchstone_tests::containers::podman::Podman;
use touchstone_tests::containers::rights;
use touchstone_tests::daemon::Daemon;
use touchstone_tests::host::Host;
use touchstone_tests::server::Server;
use touchstone_tests::world::{healthy_host, sample_policy};

use super::super::{SECRET, Scene, Script};
use super::{digest, of_containerd};

fn busy(host: &Host, server: &Server, runtimes: impl FnOnce(&mut Command)) -> Daemon {
    let mut command = host.agent_command(server, &["run", "--interval", "1"]);
    runtimes(&mut command);
    Daemon::start(command)
}

/// Entries of purges: runtime, digests, and whether all is gone.
fn told(server: &Server) -> Vec<(String, Vec<String>, bool)> {
    let entries = server.audit_entries().into_iter();
    let purges = entries.filter(|entry| entry["kind"] == "images-purged");
    let told = purges.map(|entry| {
        assert_eq!(
            (&entry["host"], &entry["actor"]),
            (&"de-1".into(), &"host".into())
        );
        let digests = serde_json::from_value(entry["digests"].clone()).unwrap();
        let runtime = entry["runtime"].as_str().unwrap().to_owned();
        (runtime, digests, entry["complete"].as_bool().unwrap())
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_turns_purges_both_runtimes_and_rounds_go_on() {
    if !rights::allow_containers() {
        return;
    }
    let (world, host, _maker) = healthy_host().await;
    let script = Script::new();
    let scene = Scene::encrypted(&script.key());
    let (containerd, podman) = (
        Containerd::start(&script.key()),
        Podman::new(&scene.registry),
    );
    let _said = containerd.pull(&scene.name).good();
    let _said = podman.pull(&scene.name, Some(&script.key())).good();
    let mut daemon = busy(&host, &world.server, |agent| {
        of_containerd(&containerd)(agent);
        podman.tell(agent);
    });
    daemon.wait_for_round("affirming");
    daemon.wait_for_round("affirming");
    assert!(containerd.run(&scene.name).good().contains(SECRET));
    assert!(podman.run(&scene.name).good().contains(SECRET));

    let sample = std::fs::read_to_string(sample_policy()).unwrap();
    world.apply(&sample.replace("8: [\"6342", "8: [\"0042"));
    daemon.wait_for("tier=contraindicated");
    daemon.wait_for("the attestor knows what was purged");
    daemon.wait_for("tier=contraindicated");
    let _said = containerd.run(&scene.name).refused();
    let _said = podman.run(&scene.name).refused();
    assert!(containerd.snapshots().is_empty() && podman.layers().is_empty());
    let image = vec![digest(&scene.name)];
    let all = ["containerd", "podman"].map(|runtime| (runtime.to_owned(), image.clone(), true));
    assert_eq!(told(&world.server), all);
    daemon.stop();

    // What is there when it starts anew goes too, before anything else happens.
    let _said = containerd.pull(&scene.name).good();
    world.apply(&sample);
    let mut daemon = busy(&host, &world.server, of_containerd(&containerd));
    daemon.wait_for("the attestor knows what was purged");
    assert!(containerd.snapshots().is_empty());
    assert_eq!(told(&world.server).len(), 3);
    // And with a good verdict nothing goes.
    daemon.wait_for("tier=affirming");
    let _said = containerd.pull(&scene.name).good();
    daemon.wait_for("tier=affirming");
    daemon.wait_for("tier=affirming");
    assert!(containerd.run(&scene.name).good().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_is_over_turns_too_and_the_attestor_is_told_when_it_is_back() {
    if !rights::allow_containers() {
        return;
    }
    let (mut world, host, _maker) = healthy_host().await;
    let database = world.server.database();
    world.apply(
        "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata: {name: short}\n\
         spec: {hosts: ['*'], freshnessSeconds: 15}\n",
    );
    let script = Script::new();
    let scene = Scene::encrypted(&script.key());
    let containerd = Containerd::start(&script.key());
    let _said = containerd.pull(&scene.name).good();
    let mut daemon = busy(&host, &world.server, of_containerd(&containerd));
    daemon.wait_for("tier=affirming");
    daemon.wait_for("tier=affirming");
    world.server.kill();
    let said = daemon.wait_for("purged");
    assert!(
        said.contains("for longer than the last one was to last"),
        "{said}"
    );
    daemon.wait_for("the attestor was not told");
    let _said = containerd.run(&scene.name).refused();
    assert!(containerd.snapshots().is_empty());
    world.server.restart_with(&database, &[]);
    daemon.wait_for("the attestor knows what was purged");
    assert_eq!(
        told(&world.server),
        [("containerd".to_owned(), vec![digest(&scene.name)], true)]
    );
}
