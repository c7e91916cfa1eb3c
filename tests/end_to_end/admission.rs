//! Admission: a pod is placed only on a host that has proved itself, in the right place, lately.

mod crowding;
mod images;
mod nodes;
mod shapes;
mod signatures;
mod updates;
mod workloads;

use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::review::{binding, create};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World, healthy_host};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_healthy_host_in_the_region_is_admitted() {
    let (world, _host, maker) = healthy_host().await;
    let abroad = Host::boot(&maker.authority, "us-1", Profile::Healthy);
    let outcome = world.join(&abroad, Some("US")).await;
    assert_eq!(outcome["tier"], "affirming");
    let altered = Host::boot(&maker.authority, "de-2", Profile::Altered);
    let outcome = world.join(&altered, Some("DE")).await;
    assert_eq!(outcome["tier"], "contraindicated");
    let nowhere = Host::boot(&maker.authority, "x-1", Profile::Healthy);
    let outcome = world.join(&nowhere, None).await;
    assert_eq!(outcome["tier"], "none", "{outcome}");

    let server = &world.server;
    assert_eq!(server.place("u1", "node-de-1").await, (true, String::new()));
    let refusal = |(admitted, why): (bool, String), part: &str| {
        assert!(!admitted && why.contains(part), "{why}");
    };
    refusal(
        server.place("u2", "node-us-1").await,
        "outside the region `germany`",
    );
    refusal(
        server.place("u3", "node-de-2").await,
        "kernel command line changed",
    );
    refusal(server.place("u4", "node-x-1").await, "no location tag");
    refusal(
        server.place("u5", "node-unknown").await,
        "mapped to no host",
    );

    // Each decision is an entry that names pod, node and reasons.
    let decided: Vec<Value> = server
        .audit_entries()
        .into_iter()
        .filter(|entry| entry["kind"] == "admission-decided")
        .collect();
    let admitted: Vec<bool> = decided
        .iter()
        .map(|e| e["admitted"].as_bool().unwrap())
        .collect();
    assert_eq!(admitted, [true, false, false, false, false]);
    assert_eq!(decided[1]["refusals"][0], "region-mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_command_line_is_named_as_the_cause_of_all_that_follows() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    let altered = Host::boot(&maker.authority, "de-2", Profile::Altered);
    world.join(&altered, Some("DE")).await;
    let host = world.server.get("/v1/hosts/de-2").await;
    let findings = host["findings"].as_array().unwrap();
    let cause = &findings[0];
    assert_eq!(cause["code"], "kernel-command-line-changed");
    let expected = cause["expected"].as_str().unwrap();
    assert_eq!(cause["observed"], format!("{expected} debug evil=1"));
    // Three more events and two PCRs, and nothing else.
    let rest: Vec<_> = findings[1..]
        .iter()
        .map(|f| f["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        rest.iter()
            .filter(|code| **code == "boot-event-changed")
            .count(),
        3
    );
    assert_eq!(
        rest.iter()
            .filter(|code| **code == "pcr-value-unknown")
            .count(),
        2
    );
    assert_eq!(rest.len(), 5);
    for finding in &findings[1..] {
        assert_eq!(
            finding["consequence_of"], "kernel-command-line-changed",
            "{finding}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_is_judged_with_the_pod_that_was_created_or_not_at_all() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    // W12: never seen, without uid, of another name.
    for review in [
        binding(Some("never-seen"), "payments", "node-de-1"),
        binding(None, "payments", "node-de-1"),
    ] {
        let (admitted, why) = server.review(&review).await;
        assert!(!admitted && why.contains("not reviewed here"), "{why}");
    }
    server.review(&create("u1", "payments", None)).await;
    let mut renamed = binding(Some("u1"), "payments", "node-de-1");
    renamed["request"]["name"] = json!("other");
    assert!(!server.review(&renamed).await.0);
    // W1: a preset node is judged as a whole.
    let preset = create("u2", "payments", Some("node-de-1"));
    assert!(server.review(&preset).await.0);
    let preset = create("u3", "payments", Some("node-unknown"));
    assert!(!server.review(&preset).await.0);
    // A namespace of no policy is not our concern, seen or unseen.
    let elsewhere = binding(Some("u4"), "other", "node-unknown");
    assert!(server.review(&elsewhere).await.0);
    // Nor is a pod of no policy in a namespace that has one, until its labels say otherwise.
    let mut pod = create("u5", "payments", None);
    pod["request"]["object"]["metadata"]["labels"] = json!({});
    assert!(server.review(&pod).await.0);
    let bound = binding(Some("u5"), "payments", "node-unknown");
    assert!(server.review(&bound).await.0);
    let mut labelled = create("u5", "payments", None);
    labelled["request"]["operation"] = json!("UPDATE");
    assert!(server.review(&labelled).await.0);
    assert!(!server.review(&bound).await.0);
    // Nor does an update take it away from its policy: whether it was made, the review does not tell.
    pod["request"]["operation"] = json!("UPDATE");
    assert!(server.review(&pod).await.0);
    assert!(!server.review(&bound).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_decided_and_writes_nothing() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    server.review(&create("u1", "payments", None)).await;
    let before = server.audit_entries().len();
    let mut dry = binding(Some("u1"), "payments", "node-de-1");
    dry["request"]["dryRun"] = json!(true);
    assert!(server.review(&dry).await.0);
    let mut dry = create("u2", "payments", None);
    dry["request"]["dryRun"] = json!(true);
    assert!(server.review(&dry).await.0);
    assert_eq!(server.audit_entries().len(), before);
    // W9: the dry pod was not remembered either.
    assert!(
        !server
            .review(&binding(Some("u2"), "payments", "node-de-1"))
            .await
            .0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_recorded_from_real_api_servers_are_answered() {
    let Some(corpus) = std::env::var_os("TOUCHSTONE_CORPUS") else {
        eprintln!("SKIPPED: TOUCHSTONE_CORPUS names no folder, so no recorded review was sent");
        return;
    };
    let recorded = std::path::Path::new(&corpus).join("../recorded/kubernetes");
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    server.command(&["node", "map", "fake-a", "de-1"]);
    let policy = std::fs::read_to_string(touchstone_tests::world::sample_policy()).unwrap();
    // The recorded pods stand in `default` and carry no labels.
    let policy: String = policy
        .replace("[payments]", "[default]")
        .lines()
        .filter(|line| !line.contains("labels:") && !line.contains("app: payments"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let file = server.file("policy.yaml", &policy);
    server.command(&["policy", "apply", &file, "--drain"]);
    for version in ["1.20", "1.36"] {
        let file = recorded.join(format!("admission-reviews-{version}.jsonl"));
        let reviews: Vec<Value> = std::fs::read_to_string(file)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let pod = reviews
            .iter()
            .find(|r| r["path"] == "/pod?timeout=5s")
            .unwrap();
        let bind = reviews
            .iter()
            .find(|r| r["path"] == "/binding?timeout=5s")
            .unwrap();
        assert!(
            !server.review(&bind["review"]).await.0,
            "{version}: before its pod"
        );
        assert!(server.review(&pod["review"]).await.0, "{version}");
        assert!(server.review(&bind["review"]).await.0, "{version}");
    }
    let entries = server.audit_entries();
    let decided = entries
        .iter()
        .filter(|entry| entry["kind"] == "admission-decided");
    assert_eq!(decided.count(), 2, "the policy was for the recorded pods");
}

/// The sample policy, which also demands this of images.
pub(crate) fn demanding(images: &str) -> String {
    let policy = std::fs::read_to_string(touchstone_tests::world::sample_policy()).unwrap();
    let host = "  host:\n    tier: affirming\n";
    let demands = policy.replace(host, &format!("  images: {images}\n{host}"));
    assert_ne!(demands, policy);
    demands
}

/// An attestor under that policy, without a host.
fn attestor(images: &str, more: &[&str]) -> Server {
    let server = Server::start_with(&Database::under_test(), more);
    let file = server.file("policy.yaml", &demanding(images));
    server.command(&["policy", "apply", &file, "--drain"]);
    server
}
