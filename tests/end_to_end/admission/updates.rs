//! Pods that change once they are there: another image, another container, other labels; and those that ask nobody.

use serde_json::{Value, json};
use touchstone_tests::review::{binding, create, debug, pod, running, update};
use touchstone_tests::world::healthy_host;

use super::{attestor, demanding};

fn digest(byte: &str) -> String {
    format!("registry.example/api@sha256:{}", byte.repeat(32))
}

/// A pod with this image on this node.
fn on(node: &str, image: &str) -> Value {
    let mut spec = running(image);
    spec["nodeName"] = json!(node);
    pod("u1", &spec)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_on_a_node_is_judged_again_where_its_image_changes() {
    let (world, _host, _maker) = healthy_host().await;
    world.apply(&demanding("{}"));
    let server = &world.server;
    let before = on("node-de-1", &digest("0a"));
    assert_eq!(server.refusals(&before).await, "none");
    let tagged = on("node-de-1", "registry.example/api:1");
    let changed = update(&before, &tagged);
    let both = json!(["image-by-tag", "workload-changed"]);
    assert_eq!(server.refusals(&changed).await, both);
    // Neither does it leave its policy on the way.
    let mut relabelled = tagged.clone();
    relabelled["request"]["object"]["metadata"]["labels"] = json!({});
    let changed = update(&before, &relabelled);
    let leaves = json!(["pod-leaves-policy"]);
    assert_eq!(server.refusals(&changed).await, leaves);
    // Where what it was is not shown, it is judged as a whole.
    let mut hidden = update(&before, &tagged);
    hidden["request"]["oldObject"] = json!(null);
    assert_eq!(server.refusals(&hidden).await, json!(["image-by-tag"]));
    let changed = update(&before, &on("node-de-1", &digest("0b")));
    assert_eq!(server.refusals(&changed).await, json!(["workload-changed"]));
    let decisions = server.decisions();
    let last = decisions.last().unwrap();
    assert_eq!(last["operation"], "UPDATE pods");
    assert_eq!(
        last["images"],
        json!([format!("sha256:{}", "0b".repeat(32))])
    );
    assert_eq!(decisions.len(), 5, "each of them is an entry");
    // What does not matter writes none, on whichever host: finalizers must come off a pod that is to go.
    let lost = on("node-unknown", &digest("0a"));
    let mut finalized = lost.clone();
    finalized["request"]["object"]["metadata"]["finalizers"] = json!([]);
    assert_eq!(server.refusals(&update(&lost, &finalized)).await, "none");
    assert_eq!(server.decisions().len(), 5);
    // A label that puts it under a policy is judged.
    let mut free = lost.clone();
    free["request"]["object"]["metadata"]["labels"] = json!({});
    let caught = update(&free, &lost);
    assert_eq!(server.refusals(&caught).await, json!(["node-unmapped"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_on_a_node_does_not_leave_its_policy() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    for node in ["node-de-1", "node-unknown"] {
        let before = on(node, &digest("0a"));
        let mut relabelled = before.clone();
        relabelled["request"]["object"]["metadata"]["labels"] = json!({ "app": "another" });
        let left = update(&before, &relabelled);
        assert_eq!(server.refusals(&left).await, json!(["pod-leaves-policy"]));
        let entry = server.decisions().pop().unwrap();
        assert_eq!(entry["policies"], json!(["payments"]));
        assert_eq!(entry["node"], node);
        // Nor together with what would be judged by itself.
        let image = &mut relabelled["request"]["object"]["spec"]["containers"][0]["image"];
        *image = json!(digest("0b"));
        let left = update(&before, &relabelled);
        assert_eq!(server.refusals(&left).await, json!(["pod-leaves-policy"]));
        let (_, why) = server.review(&left).await;
        assert!(why.contains("delete it and make another"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_come_with_a_status_or_a_binding_take_no_pod_out_of_its_policy() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    let other = json!({ "app": "another" });
    let running_there = on("node-unknown", &digest("0a"));
    let mut told = running_there.clone();
    told["request"]["subResource"] = json!("status");
    told["request"]["object"]["status"] = json!({ "phase": "Running" });
    let mere = update(&running_there, &told);
    assert_eq!(server.refusals(&mere).await, "none");
    told["request"]["object"]["metadata"]["labels"] = other.clone();
    let left = update(&running_there, &told);
    assert_eq!(server.refusals(&left).await, json!(["pod-leaves-policy"]));
    let caught = update(&told, &mere);
    assert_eq!(server.refusals(&caught).await, json!(["node-unmapped"]));
    // The same of a binding.
    let made = pod("u1", &running(&digest("0a")));
    assert_eq!(server.refusals(&made).await, "none");
    let mut bound = binding(Some("u1"), "payments", "node-de-1");
    bound["request"]["object"]["metadata"]["labels"] = other;
    assert_eq!(server.refusals(&bound).await, json!(["pod-leaves-policy"]));
    let zone = json!({ "topology.kubernetes.io/zone": "z" });
    bound["request"]["object"]["metadata"]["labels"] = zone;
    assert_eq!(server.refusals(&bound).await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_toleration_of_our_taint_comes_with_the_loss_of_a_policy() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    let tolerations = json!([{ "key": "touchstone.dev/untrusted", "operator": "Exists" }]);
    let code = "toleration-of-untrusted";
    let waiting = pod("u1", &running(&digest("0a")));
    for (before, node) in [
        (on("node-de-1", &digest("0a")), json!("node-de-1")),
        (waiting.clone(), Value::Null),
    ] {
        let mut after = before.clone();
        after["request"]["object"]["metadata"]["labels"] = json!({});
        after["request"]["object"]["spec"]["tolerations"] = tolerations.clone();
        let after = update(&before, &after);
        assert_eq!(server.refusals(&after).await, json!([code]));
        let last = server.decisions().pop().unwrap();
        assert_eq!((&last["node"], &last["pod"]), (&node, &json!("api")));
        assert_eq!(last["policies"], json!(["payments"]));
        let (_, why) = server.review(&after).await;
        assert!(why.contains("not trusted"), "{why}");
    }
    // Nor under one, by labels that come with the binding.
    let mut outside = waiting;
    outside["request"]["object"]["metadata"]["labels"] = json!({});
    outside["request"]["object"]["spec"]["tolerations"] = tolerations.clone();
    assert_eq!(server.refusals(&outside).await, "none");
    let mut bound = binding(Some("u1"), "payments", "node-de-1");
    assert_eq!(server.refusals(&bound).await, "none");
    bound["request"]["object"]["metadata"]["labels"] = json!({ "app": "payments" });
    assert_eq!(server.refusals(&bound).await, json!([code]));
    // A pod that no policy ever was for tolerates what it likes.
    let mut free = on("node-de-1", &digest("0a"));
    free["request"]["object"]["metadata"]["labels"] = json!({});
    let mut after = free.clone();
    after["request"]["object"]["spec"]["tolerations"] = tolerations;
    assert_eq!(server.refusals(&update(&free, &after)).await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_put_into_a_running_pod_is_judged() {
    let (world, _host, _maker) = healthy_host().await;
    world.apply(&demanding("{}"));
    let server = &world.server;
    let running = on("node-de-1", &digest("0a"));
    assert_eq!(server.refusals(&running).await, "none");
    let good = debug(&running, &digest("0b"));
    assert_eq!(server.refusals(&good).await, "none");
    let last = server.decisions().pop().unwrap();
    assert_eq!(last["operation"], "UPDATE pods/ephemeralcontainers");
    let (allowed, why) = server.review(&debug(&running, "busybox")).await;
    assert!(
        !allowed && why.contains("ephemeral container `debugger`"),
        "{why}"
    );
    let bad = debug(&running, "busybox");
    assert_eq!(server.refusals(&bad).await, json!(["image-by-tag"]));
    // On a host that has fallen nothing more is started.
    let elsewhere = debug(&on("node-unknown", &digest("0a")), &digest("0b"));
    assert_eq!(server.refusals(&elsewhere).await, json!(["node-unmapped"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_waits_is_bound_with_every_image_that_it_was_seen_with() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    // No policy demands anything of images yet.
    let first = pod("u1", &running("registry.example/api:1"));
    assert_eq!(server.refusals(&first).await, "none");
    let second = update(&first, &pod("u1", &running(&digest("0a"))));
    assert_eq!(server.refusals(&second).await, "none");
    world.apply(&demanding("{}"));
    let bound = binding(Some("u1"), "payments", "node-de-1");
    assert_eq!(server.refusals(&bound).await, json!(["image-by-tag"]));
    // From now on the change itself is refused, and changes nothing.
    let third = pod("u2", &running(&digest("0a")));
    assert_eq!(server.refusals(&third).await, "none");
    let changed = update(&third, &pod("u2", &running("registry.example/api:1")));
    assert_eq!(server.refusals(&changed).await, json!(["image-by-tag"]));
    let added = debug(&third, "busybox");
    assert_eq!(server.refusals(&added).await, json!(["image-by-tag"]));
    let bound = binding(Some("u2"), "payments", "node-de-1");
    assert_eq!(server.refusals(&bound).await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_of_a_static_pod_is_refused_on_whichever_host() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    let mut mirror = create("u1", "payments", Some("node-de-1"));
    mirror["request"]["userInfo"]["username"] = json!("system:node:node-de-1");
    mirror["request"]["object"]["metadata"]["annotations"] =
        json!({ "kubernetes.io/config.mirror": "9ad8", "kubernetes.io/config.source": "file" });
    // As every kubelet has them.
    mirror["request"]["object"]["spec"]["tolerations"] =
        json!([{ "operator": "Exists", "effect": "NoExecute" }]);
    assert_eq!(server.refusals(&mirror).await, json!(["pod-static"]));
    let last = server.decisions().pop().unwrap();
    assert_eq!(
        (&last["node"], &last["host"]),
        (&json!("node-de-1"), &json!("de-1"))
    );
    let (_, why) = server.review(&mirror).await;
    assert!(why.contains("take its file off that node"), "{why}");
    // One that no policy is for is nobody's concern.
    mirror["request"]["object"]["metadata"]["labels"] = json!({});
    assert_eq!(server.refusals(&mirror).await, "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_node_is_refused_for_its_images_before_it_waits() {
    let server = attestor("{from: [registry.example/]}", &[]);
    let refused = pod("u1", &running("other.example/api:1"));
    assert_eq!(
        server.refusals(&refused).await,
        json!(["image-from-elsewhere"])
    );
    let entry = server.decisions().pop().unwrap();
    assert_eq!(
        (&entry["node"], &entry["host"]),
        (&json!(null), &json!(null))
    );
    let (_, why) = server.review(&refused).await;
    assert!(why.contains("policy allows registry.example/"), "{why}");
    // It is not there, so it is not bound.
    let bound = binding(Some("u1"), "payments", "node-de-1");
    assert!(!server.review(&bound).await.0);
    assert_eq!(server.refused("pod-unknown").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_changed_too_often_is_bound_nowhere() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    let first = pod("u1", &running(&digest("0a")));
    assert_eq!(server.refusals(&first).await, "none");
    for number in 10..30 {
        let next = pod("u1", &running(&digest(&number.to_string())));
        assert_eq!(server.refusals(&update(&first, &next)).await, "none");
    }
    let bound = binding(Some("u1"), "payments", "node-de-1");
    let (allowed, why) = server.review(&bound).await;
    assert!(!allowed && why.contains("create it again"), "{why}");
    assert_eq!(server.refused("pod-changed-too-often").await, 1);
}
