//! Real container tools: encrypted where images are built, opened on a healthy host, and closed on every other one, with
//! the reason in what the tool says.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use touchstone_agent::state::Records;
use touchstone_tests::containers::containerd::Containerd;
use touchstone_tests::containers::cri::Cri;
use touchstone_tests::containers::image::Image;
use touchstone_tests::containers::keys::{Key, Provider};
use touchstone_tests::containers::podman::Podman;
use touchstone_tests::containers::tool::Said;
use touchstone_tests::containers::{rights, skopeo};
use touchstone_tests::daemon::Daemon;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::impostor::impostor;
use touchstone_tests::keyprovider::KeyProvider;
use touchstone_tests::programs;
use touchstone_tests::world::{healthy_host, sample_policy};
use touchstone_tpm_sim::swtpm::Bank;

use super::built::{Built, Node, SECRET, built, built_by};
use crate::layer_keys::register;
use crate::location::{issue, signed_tag};

/// It failed, and gave this reason.
fn says(said: Said, words: &str) {
    // skopeo writes a log line, with quotation marks of its own.
    let said = said.refused().replace('\\', "");
    assert!(said.contains(words), "{words}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_host_runs_an_encrypted_image() {
    if !rights::allow_containers() {
        return;
    }
    let (world, host, _maker) = healthy_host().await;
    let built = built(&world, &[]);
    let node = Node::of(&host, &world);
    let containerds = node.keys().map(|key| Containerd::start(&key));
    let store = containerds[0].content_store();
    let more = ["--content-store", store.to_str().unwrap()];
    let provider = KeyProvider::start_with(&host, &world.server, &more);
    for key in node.keys() {
        let _said = skopeo::decrypt(&built.name, &key).good();
        let podman = Podman::new(&built.registry);
        let _said = podman.pull(&built.name, Some(&key)).good();
        assert!(podman.run(&built.name).good().contains(SECRET));
    }
    let leases = || {
        let records = Records::at(&host.settings(&world.server).state);
        records.leases().unwrap()
    };
    // Two layers, of an image that nobody named.
    assert_eq!(leases().len(), 2);
    assert!(leases().iter().all(|lease| lease.manifest.is_none()));
    for containerd in &containerds {
        let _said = containerd.pull(&built.name).good();
        assert!(containerd.run(&built.name).good().contains(SECRET));
    }
    // It is on the disk of the first containerd.
    let manifest = Some(built.digest());
    let found = leases();
    let found = found.iter().filter(|lease| lease.manifest == manifest);
    assert_eq!(found.count(), 2);
    containerds[0].purge(&built.name);
    Cri::of(&containerds[0]).pull(&built.name).await.unwrap();
    assert!(containerds[0].run(&built.name).good().contains(SECRET));
    provider.daemon.stop();
    says(
        skopeo::decrypt(&built.name, &node.keys()[0]),
        "code = Unavailable",
    );
    says(
        skopeo::decrypt(&built.name, &node.keys()[1]),
        "see that `touchstone-agent run` runs",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_may_not_read_an_image_is_told_why_by_each_tool() {
    if !rights::allow_containers() {
        return;
    }
    let (world, _host, maker) = healthy_host().await;
    let built = built(&world, &[]);
    for (name, profile, country, words) in [
        (
            "de-2",
            Profile::Altered,
            Some("DE"),
            "kernel command line changed",
        ),
        (
            "us-1",
            Profile::Healthy,
            Some("US"),
            "outside the region `germany`",
        ),
        ("x-1", Profile::Healthy, None, "no location tag"),
    ] {
        let host = Host::boot(&maker.authority, name, profile);
        world.join(&host, country).await;
        let node = Node::of(&host, &world);
        let _provider = KeyProvider::start(&host, &world.server);
        for key in node.keys() {
            says(skopeo::decrypt(&built.name, &key), words);
            let podman = Podman::new(&built.registry);
            says(podman.pull(&built.name, Some(&key)), words);
            assert!(podman.layers().is_empty());
            let containerd = Containerd::start(&key);
            says(containerd.pull(&built.name), words);
            let said = Cri::of(&containerd).pull(&built.name).await.unwrap_err();
            assert!(said.contains(words), "{said}");
            assert!(containerd.snapshots().is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_healthy_reads_no_more_once_it_is_not() {
    if !rights::allow_containers() {
        return;
    }
    let (world, host, _maker) = healthy_host().await;
    let built = built(&world, &[]);
    let node = Node::of(&host, &world);
    let key = &node.keys()[0];
    let _provider = KeyProvider::start(&host, &world.server);
    let podman = Podman::new(&built.registry);
    let good = || {
        let _said = podman.pull(&built.name, Some(key)).good();
        let _said = podman.call(&["rmi", "--force", &built.name]).good();
    };
    good();
    // What it booted is no longer what is to be booted.
    let current = fs::read_to_string(sample_policy()).unwrap();
    let retired = current.replace("lifeCycle: Active", "lifeCycle: Retired");
    world.apply(&retired);
    says(
        podman.pull(&built.name, Some(key)),
        "none of the policy's reference values is active",
    );
    world.apply(&current);
    good();
    // It boots something else, and its last verdict is still in force.
    host.reboot();
    good();
    host.reboot();
    host.tpm.extend(4, &[(Bank::Sha256, vec![7; 32])]).unwrap();
    says(podman.pull(&built.name, Some(key)), "PCR 4");
    host.reboot();
    good();
    let retire = ["host", "retire", "de-1", "--reason", "old"];
    world.server.command(&retire);
    says(podman.pull(&built.name, Some(key)), "`host-retired`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_nobody_registered_stays_closed_with_a_registered_key() {
    if !rights::allow_containers() {
        return;
    }
    let (world, host, _maker) = healthy_host().await;
    let built = built(&world, &["--registered"]);
    let node = Node::of(&host, &world);
    let key = &node.keys()[0];
    let containerd = Containerd::start(key);
    let store = containerd.content_store();
    let more = ["--content-store", store.to_str().unwrap()];
    let _provider = KeyProvider::start_with(&host, &world.server, &more);
    let podman = Podman::new(&built.registry);
    let named = node
        .socket
        .key(&format!("{}@{}", built.name, built.digest()));
    says(
        podman.pull(&built.name, Some(key)),
        "--decryption-key provider:touchstone:node@sha256:",
    );
    says(
        podman.pull(&built.name, Some(&named)),
        "`touchstone image register`",
    );
    says(containerd.pull(&built.name), "`touchstone image register`");
    let manifest = built.manifest.as_bytes();
    register(&world.server, &built.publisher, manifest)
        .await
        .unwrap();
    let _said = podman.pull(&built.name, Some(&named)).good();
    assert!(podman.run(&built.name).good().contains(SECRET));
    let _said = containerd.pull(&built.name).good();
    assert!(containerd.run(&built.name).good().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_revoked_takes_its_image_off_both_runtimes_and_leaves_the_others() {
    if !rights::allow_containers() {
        return;
    }
    let (world, host, _maker) = healthy_host().await;
    let built = built_by(&world, &[], skopeo::encrypt_own_layer);
    let second = ["key", "create", "second", "--policy", "payments"];
    world.server.command(&second);
    let arguments = ["keyprovider", "--credential", &built.publisher];
    let wrapping = Provider::program(&programs::path("touchstone"), &arguments);
    // With the same busybox below it.
    let (other, image) = (built.registry.image("other:v1"), Image::saying("the other"));
    let _said = skopeo::encrypt_own_layer(&image, &other, &wrapping.key("second")).good();

    let node = Node::of(&host, &world);
    let key = &node.keys()[0];
    let (containerd, podman) = (Containerd::start(key), Podman::new(&built.registry));
    let mut command = host.agent_command(&world.server, &["run"]);
    command.env("TOUCHSTONE_INTERVAL", "86400");
    command.arg("--containerd").arg(containerd.socket());
    podman.tell(&mut command);
    let mut daemon = Daemon::start(command);
    daemon.wait_for(": attested ");
    for image in [&built.name, &other] {
        let _said = containerd.pull(image).good();
        let _said = podman.pull(image, Some(key)).good();
    }
    let running = [&built.name, &other].map(|image| containerd.keep_running(image));
    assert_eq!(containerd.running().len(), 2);

    let of = ["--host", "de-1", "--key", "payments"];
    let lease = |act: &str| world.server.command(&[&["lease", act], &of[..]].concat());
    assert_eq!(lease("revoke")["leases"], 1);
    // No round is due for a day: the refusal brings it.
    says(
        skopeo::decrypt(&built.name, key),
        "the key payments was taken back from this host",
    );
    daemon.wait_for("leases are revoked");
    daemon.wait_for("the attestor knows what was purged");
    assert_eq!(containerd.running(), running[1..]);
    assert!(containerd.names(&built.name).is_empty());
    let _said = containerd.run(&built.name).refused();
    let _said = podman.run(&built.name).refused();
    assert!(containerd.run(&other).good().contains("the other"));
    assert!(podman.run(&other).good().contains("the other"));
    let states = || {
        let list = world.server.command(&["lease", "list"]);
        let leases = list["leases"].as_array().unwrap().clone();
        leases
            .into_iter()
            .map(|lease| format!("{} {}", lease["key"], lease["state"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        states(),
        [r#""payments" "purged""#, r#""second" "in-force""#]
    );
    let entries = world.server.audit_entries().into_iter();
    let told: Vec<_> = entries
        .filter(|entry| entry["kind"] == "images-purged")
        .collect();
    let digest = serde_json::json!([built.digest()]);
    assert_eq!(
        told.iter()
            .map(|entry| &entry["digests"])
            .collect::<Vec<_>>(),
        [&digest; 2]
    );
    assert!(told.iter().all(|entry| entry["complete"] == true));
    says(containerd.pull(&built.name), "`lease-revoked`");

    lease("restore");
    let _said = containerd.pull(&built.name).good();
    assert!(containerd.run(&built.name).good().contains(SECRET));
}

/// A policy by which a verdict lasts as short as it may.
fn short_lived() -> String {
    let sample = fs::read_to_string(sample_policy()).unwrap();
    let line = sample
        .lines()
        .find(|line| line.contains("freshnessSeconds: "));
    sample.replace(line.unwrap().trim(), "freshnessSeconds: 10")
}

/// Until a challenge from then is older than a verdict may be.
fn until_old(challenged: Instant) {
    while let Some(left) = Duration::from_secs(11).checked_sub(challenged.elapsed()) {
        std::thread::park_timeout(left);
    }
}

/// Every tool refuses the image, and gives this reason.
async fn every_tool_says(built: &Built, key: &Key, words: &str) {
    says(skopeo::decrypt(&built.name, key), words);
    let podman = Podman::new(&built.registry);
    says(podman.pull(&built.name, Some(key)), words);
    assert!(podman.layers().is_empty());
    let containerd = Containerd::start(key);
    says(containerd.pull(&built.name), words);
    let said = Cri::of(&containerd).pull(&built.name).await.unwrap_err();
    assert!(said.contains(words), "{said}");
    assert!(containerd.snapshots().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_verdict_is_over_is_told_so_by_each_tool() {
    if !rights::allow_containers() {
        return;
    }
    let (world, host, _maker) = healthy_host().await;
    world.apply(&short_lived());
    let built = built(&world, &[]);
    let node = Node::of(&host, &world);
    let key = &node.keys()[0];
    // What the challenge brings back is too old by the time that it is there.
    let late = Arc::new(AtomicBool::new(false));
    let is_late = late.clone();
    impostor(&host, &world.server, move |path, answer| {
        if path == "/v1/challenges" && is_late.load(Ordering::SeqCst) {
            until_old(Instant::now());
        }
        answer
    });
    let provider = KeyProvider::start(&host, &world.server);
    let _said = skopeo::decrypt(&built.name, key).good();
    late.store(true, Ordering::SeqCst);
    every_tool_says(&built, key, "result-expired").await;
    drop(provider);
    // Nor is it waited for.
    let patience = ["--keyprovider-patience", "2"];
    let provider = KeyProvider::begin(&host, &world.server, &patience);
    let words = "no key within 2 s, because the attestor took too long";
    every_tool_says(&built, key, words).await;
    late.store(false, Ordering::SeqCst);
    drop(provider);
    let _provider = KeyProvider::start(&host, &world.server);
    let _said = skopeo::decrypt(&built.name, key).good();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_location_tag_has_expired_is_told_so_by_each_tool() {
    if !rights::allow_containers() {
        return;
    }
    let (world, host, _maker) = healthy_host().await;
    let built = built(&world, &[]);
    let node = Node::of(&host, &world);
    let key = &node.keys()[0];
    let tag = signed_tag(&world, "de-1", |tag| {
        tag.not_after = tag.not_before + 60 + 8
    })
    .await;
    assert!(issue(&world, "de-1", &tag).await.0.is_success());
    // The agent writes the tag that a challenge brings.
    for _ in 0..2 {
        host.attest(&world.server).unwrap();
    }
    let view = async || world.server.get("/v1/hosts/de-1").await;
    assert_eq!(view().await["tier"], "affirming");
    while view().await["fresh"] == true {}
    let _provider = KeyProvider::start(&host, &world.server);
    every_tool_says(&built, key, "the location tag has expired").await;
}
