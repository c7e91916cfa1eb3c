//! The mutating webhook: what policies ask of a pod is written into it, and nothing else.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::database::Database;
use touchstone_tests::registry::Registry;
use touchstone_tests::review::create;
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World, healthy_host, sample_policy};

const TIER: &str = "node-restriction.kubernetes.io/touchstone-tier";
const REGION: &str = "node-restriction.kubernetes.io/touchstone-region.germany";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const GATE: &str = "touchstone.dev/awaiting-verdict";

/// The sample policy, with more in the spec of its `WorkloadPolicy`.
fn policy_with(more: &str) -> String {
    let policy = std::fs::read_to_string(sample_policy()).unwrap();
    let host = "  host:\n    tier: affirming\n    region: germany\n";
    assert!(policy.contains(host));
    policy.replace(host, &format!("  {more}\n{host}"))
}

/// The review of a new pod of the sample workload with these parts of its spec.
fn pod_with(parts: Value) -> Value {
    let mut review = create("u1", "payments", None);
    let spec = review["request"]["object"]["spec"].as_object_mut().unwrap();
    spec.extend(parts.as_object().unwrap().clone());
    review
}

fn terms(pod: &Value) -> &Value {
    &pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
}

/// What the sample workload demands of a node.
fn demanded() -> [Value; 2] {
    [
        json!({ "key": TIER, "operator": "In", "values": ["affirming"] }),
        json!({ "key": REGION, "operator": "In", "values": ["true"] }),
    ]
}

/// The same pod asked about once more, as it is now.
async fn again(server: &Server, review: &Value, pod: &Value) -> Value {
    let mut second = review.clone();
    second["request"]["object"] = pod.clone();
    server.mutate(&second).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_sent_only_to_nodes_that_its_policy_allows() {
    let world = World::start(&Database::under_test(), &Maker::new());
    let server = &world.server;
    let review = create("u1", "payments", None);
    let pod = server.mutate(&review).await;
    assert_eq!(*terms(&pod), json!([{ "matchExpressions": demanded() }]));
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["touchstone.dev/policies"], "payments");
    let changed = annotations["touchstone.dev/changed"].as_str().unwrap();
    assert!(changed.contains("touchstone-tier affirming"), "{changed}");
    assert_eq!(again(server, &review, &pod).await, pod);
    // A trial is told the same.
    let mut dry = review.clone();
    dry["request"]["dryRun"] = json!(true);
    assert_eq!(server.mutate(&dry).await, pod);
    // Of no policy: another namespace, other labels. Of no pod: a binding.
    let mut unlabelled = create("u1", "payments", None);
    unlabelled["request"]["object"]["metadata"]["labels"] = json!({});
    let binding = touchstone_tests::review::binding(Some("u1"), "payments", "node-de-1");
    for other in [create("u1", "other", None), unlabelled, binding] {
        assert_eq!(server.mutate(&other).await, other["request"]["object"]);
    }
    // What an API server lets nobody change any more is left.
    let mut update = review.clone();
    update["request"]["operation"] = json!("UPDATE");
    update["request"]["oldObject"] = review["request"]["object"].clone();
    assert_eq!(server.mutate(&update).await, review["request"]["object"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_alternative_and_no_field_lets_a_pod_onto_another_node() {
    let world = World::start(&Database::under_test(), &Maker::new());
    let zone = json!({ "key": "zone", "operator": "In", "values": ["a"] });
    let disk = json!({ "key": "disk", "operator": "Exists" });
    let name = json!([{ "key": "metadata.name", "operator": "In", "values": ["node-x"] }]);
    // W13: alternatives, a DaemonSet's pod, a term of no demands, which selects nothing.
    let review = pod_with(
        json!({ "affinity": { "nodeAffinity": { REQUIRED: { "nodeSelectorTerms": [
        { "matchExpressions": [zone] },
        { "matchExpressions": [disk] },
        { "matchFields": name },
        { "matchExpressions": [], "matchFields": null },
    ] } } } }),
    );
    let pod = world.server.mutate(&review).await;
    let [tier, region] = demanded();
    let narrowed = json!([
        { "matchExpressions": [zone, tier, region] },
        { "matchExpressions": [disk, tier, region] },
        { "matchExpressions": [tier, region], "matchFields": name },
        { "matchExpressions": [], "matchFields": null },
    ]);
    let end = match *terms(&pod) == narrowed {
        true => "not-widened",
        false => "widened",
    };
    assert_eq!(end, "not-widened", "{}", terms(&pod));
    assert_eq!(again(&world.server, &review, &pod).await, pod);
    // A list of no terms selects nothing.
    let nowhere = json!({ "nodeAffinity": { REQUIRED: { "nodeSelectorTerms": [] } } });
    let review = pod_with(json!({ "affinity": nowhere }));
    let pod = world.server.mutate(&review).await;
    assert_eq!(pod["spec"]["affinity"], nowhere);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_until_a_host_fits_and_ends_as_soon_as_its_policy_says() {
    let (world, host, _maker) = healthy_host().await;
    let server = &world.server;
    world.apply(&policy_with(
        "placement: {hold: true, terminationGraceSeconds: 5}",
    ));
    let review = pod_with(json!({ "terminationGracePeriodSeconds": 30 }));
    let pod = server.mutate(&review).await;
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 5);
    assert!(pod["spec"].get("schedulingGates").is_none(), "de-1 fits");
    let quick = pod_with(json!({ "terminationGracePeriodSeconds": 2 }));
    let quick = server.mutate(&quick).await;
    assert_eq!(quick["spec"]["terminationGracePeriodSeconds"], 2);

    server.command(&["host", "retire", &host.name]);
    let gated = pod_with(json!({ "schedulingGates": [{ "name": "other.dev/gate" }] }));
    let pod = server.mutate(&gated).await;
    let gates = json!([{ "name": "other.dev/gate" }, { "name": GATE }]);
    assert_eq!(pod["spec"]["schedulingGates"], gates);
    assert_eq!(again(server, &gated, &pod).await, pod);
    // A pod that has its node cannot have a gate, nor can one get it later.
    let placed = server
        .mutate(&create("u1", "payments", Some("node-de-1")))
        .await;
    assert!(placed["spec"].get("schedulingGates").is_none());
    let mut update = review.clone();
    update["request"]["operation"] = json!("UPDATE");
    assert_eq!(server.mutate(&update).await, review["request"]["object"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_becomes_the_digest_that_its_registry_has() {
    let (registry, ca) = Registry::start_tls();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    std::fs::write(&trusted, ca).unwrap();
    let env = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
    let server = Server::start_in(&env, &Database::under_test(), &[]);
    let world = World::on(server, &Maker::new());
    let server = &world.server;
    world.apply(&policy_with("images: {digests: resolved}"));
    let (media, manifest) = ("application/vnd.oci.image.manifest.v1+json", b"{}");
    registry.put("payments/api", "1", media, manifest);
    let name = format!("{}/payments/api", registry.name());
    let pinned = format!("{name}@sha256:{}", Sha256Digest::of(manifest));
    // One that takes connections and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("{}/payments/api:1", silent.local_addr().unwrap());

    let tagged = format!("{name}:1");
    let review = pod_with(json!({
        "initContainers": [{ "name": "first", "image": tagged }],
        "containers": [
            { "name": "api", "image": tagged, "command": ["run"] },
            { "name": "gone", "image": format!("{name}:2") },
            { "name": "silent", "image": silent },
            { "name": "whole", "image": pinned },
        ],
    }));
    let begun = Instant::now();
    let pod = server.mutate(&review).await;
    // Not for as long as the silent one takes; how much longer than it is given depends on this machine.
    assert!(begun.elapsed() < Duration::from_secs(10));
    let images = |list: &str| -> Vec<Value> {
        let containers = pod["spec"][list].as_array().unwrap().iter();
        containers.map(|one| one["image"].clone()).collect()
    };
    assert_eq!(images("initContainers"), [pinned.as_str()]);
    let gone = format!("{name}:2");
    assert_eq!(
        images("containers"),
        [&pinned, &gone, &silent, &pinned].map(|image| json!(image))
    );
    assert_eq!(pod["spec"]["containers"][0]["command"], json!(["run"]));
    let changed = pod["metadata"]["annotations"]["touchstone.dev/changed"].as_str();
    assert!(changed.unwrap().contains(&format!("api was {tagged}")));

    // A container that is added while the pod runs; what runs is not started anew.
    let mut update = pod_with(json!({ "containers": [{ "name": "api", "image": tagged }] }));
    update["request"]["operation"] = json!("UPDATE");
    update["request"]["subResource"] = json!("ephemeralcontainers");
    update["request"]["oldObject"] = update["request"]["object"].clone();
    let debug = json!([{ "name": "debug", "image": tagged }]);
    update["request"]["object"]["spec"]["ephemeralContainers"] = debug;
    let pod = server.mutate(&update).await;
    assert_eq!(pod["spec"]["containers"][0]["image"], tagged);
    assert_eq!(pod["spec"]["ephemeralContainers"][0]["image"], pinned);

    // No registry is asked but those that policy lets images come from.
    world.apply(&policy_with(
        "images: {digests: resolved, from: [other.example/]}",
    ));
    let pod = server.mutate(&review).await;
    assert_eq!(pod["spec"]["containers"][0]["image"], tagged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_a_policy_tolerates_no_untrusted_host() {
    let world = World::start(&Database::under_test(), &Maker::new());
    let server = &world.server;
    let everything = json!({ "operator": "Exists", "effect": "NoExecute" });
    let ours = json!({ "key": "touchstone.dev/untrusted", "operator": "Exists" });
    let other = json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists" });
    for (toleration, words) in [
        (&everything, "tolerates every taint"),
        (&ours, "tolerates touchstone.dev/untrusted"),
    ] {
        let review = pod_with(json!({ "tolerations": [other, toleration] }));
        let (allowed, why) = server.review(&review).await;
        assert!(!allowed && why.contains(words), "{why}");
        // The mutating webhook leaves it to that.
        let pod = server.mutate(&review).await;
        assert_eq!(pod["spec"]["tolerations"], json!([other, toleration]));
        // Added to a pod that runs, it would keep it from being evicted.
        let mut update = review.clone();
        update["request"]["operation"] = json!("UPDATE");
        update["request"]["object"]["spec"]["nodeName"] = json!("node-de-1");
        update["request"]["oldObject"] =
            pod_with(json!({ "tolerations": [other] }))["request"]["object"].clone();
        let (allowed, why) = server.review(&update).await;
        assert!(!allowed && why.contains(words), "{why}");
        // A pod that tolerates it already can still be changed, so that it can be deleted.
        update["request"]["oldObject"] = update["request"]["object"].clone();
        assert!(server.review(&update).await.0);
        let mut elsewhere = review;
        elsewhere["request"]["namespace"] = json!("other");
        assert!(server.review(&elsewhere).await.0);
    }
    let harmless = pod_with(json!({ "tolerations": [other] }));
    assert!(server.review(&harmless).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_recorded_from_real_api_servers_are_changed_as_meant() {
    let Some(corpus) = std::env::var_os("TOUCHSTONE_CORPUS") else {
        eprintln!("SKIPPED: TOUCHSTONE_CORPUS names no folder, so no recorded review was sent");
        return;
    };
    let recorded = Path::new(&corpus).join("../recorded/kubernetes");
    let world = World::start(&Database::under_test(), &Maker::new());
    let policy = policy_with("placement: {hold: true, terminationGraceSeconds: 5}");
    // The recorded pods stand in `default` and carry no labels.
    let policy = policy.replace("[payments]", "[default]");
    world.apply(&policy.replace("    labels:\n      app: payments\n", ""));
    for version in ["1.20", "1.36"] {
        let file = recorded.join(format!("admission-reviews-{version}.jsonl"));
        let reviews = std::fs::read_to_string(file).unwrap();
        let mut reviews = reviews
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let review = reviews.find(|r| r["path"] == "/mutate?timeout=5s").unwrap();
        let review = &review["review"];
        let pod = world.server.mutate(review).await;
        let mut expected = review["request"]["object"].clone();
        expected["spec"]["affinity"] = json!({ "nodeAffinity": { REQUIRED: {
            "nodeSelectorTerms": [{ "matchExpressions": demanded() }],
        } } });
        expected["spec"]["terminationGracePeriodSeconds"] = json!(5);
        expected["spec"]["schedulingGates"] = json!([{ "name": GATE }]);
        for noted in ["touchstone.dev/policies", "touchstone.dev/changed"] {
            let note = &pod["metadata"]["annotations"][noted];
            assert!(note.is_string(), "{version}: {noted}");
            expected["metadata"]["annotations"][noted] = note.clone();
        }
        assert_eq!(pod, expected, "{version}");
        assert_eq!(again(&world.server, review, &pod).await, pod, "{version}");
    }
}

/// A pod with so many small things in it that its tree would be far larger than itself: as many as `bytes` hold.
fn crowded(namespace: &str, bytes: usize) -> Value {
    let mut review = create("u1", namespace, None);
    let variable = json!({ "name": "", "value": "" });
    let count = bytes / variable.to_string().len();
    review["request"]["object"]["spec"]["containers"][0]["env"] = vec![variable; count].into();
    review
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_no_policy_is_for_are_not_taken_apart_and_a_huge_one_is_left_as_it_is() {
    let world = World::start(&Database::under_test(), &Maker::new());
    let server = &world.server;
    let small = create("u1", "payments", None);
    assert_ne!(server.mutate(&small).await, small["request"]["object"]);
    let before = server.memory("VmHWM");
    let other = crowded("elsewhere", 2_800_000);
    assert_eq!(server.mutate(&other).await, other["request"]["object"]);
    let huge = crowded("payments", 2_800_000);
    assert_eq!(server.mutate(&huge).await, huge["request"]["object"]);
    let grown = server.memory("VmHWM").saturating_sub(before);
    eprintln!("the peak grew by {grown} KiB");
    assert!(grown < 48 << 10, "{grown} KiB");
    // It is judged all the same.
    assert!(server.review(&huge).await.0);
}
