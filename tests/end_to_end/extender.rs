//! The scheduler extender: nodes are told apart as bindings to them would be, before the scheduler chooses.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::review::{binding, create};
use touchstone_tests::world::{Maker, World, healthy_host, sample_policy};

/// A pod of the sample workload.
fn pod(uid: &str, namespace: &str) -> Value {
    create(uid, namespace, None)["request"]["object"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_pass_as_bindings_to_them_would_and_the_others_say_why() {
    let (world, _host, maker) = healthy_host().await;
    let abroad = Host::boot(&maker.authority, "us-1", Profile::Healthy);
    world.join(&abroad, Some("US")).await;
    let altered = Host::boot(&maker.authority, "de-2", Profile::Altered);
    world.join(&altered, Some("DE")).await;
    let server = &world.server;
    let nodes = ["node-us-1", "node-de-1", "node-de-2", "node-unknown"];
    let before = server.audit_entries().len();
    let answer = server
        .extender("filter", &pod("u0", "payments"), &nodes)
        .await;
    assert_eq!(server.audit_entries().len(), before, "asking is no act");
    assert_eq!(answer["NodeNames"], json!(["node-de-1"]), "{answer}");
    assert_eq!(
        (&answer["Nodes"], &answer["Error"]),
        (&Value::Null, &json!(""))
    );
    let failed = answer["FailedAndUnresolvableNodes"].as_object().unwrap();
    assert_eq!(failed.len(), 3);
    for (at, node) in nodes.into_iter().enumerate() {
        let (admitted, why) = server.place(&format!("u{at}"), node).await;
        assert_eq!(failed.get(node).is_none(), admitted, "{node}");
        if let Some(said) = failed.get(node) {
            assert!(why.contains(said.as_str().unwrap()), "{why}: {said}");
        }
    }

    // Whole nodes go back as they came.
    let whole = nodes.map(|name| {
        json!({ "metadata": { "name": name, "labels": { "a": "b" } }, "status": { "x": 1.50 } })
    });
    let list = json!({ "metadata": {}, "items": whole });
    let args = json!({ "Pod": pod("u0", "payments"), "Nodes": list, "NodeNames": null });
    let seam = server.seam("extender/filter");
    let (status, answer) = server.send(Method::POST, &seam, None, Some(&args)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["Nodes"]["items"], json!([whole[1]]));
    assert_eq!(answer["NodeNames"], Value::Null);
    assert_eq!(answer["FailedAndUnresolvableNodes"], json!(failed));
    assert_eq!(answer["FailedNodes"], json!(failed));

    // A pod of no policy may go anywhere; a request without nodes is an error.
    let answer = server.extender("filter", &pod("u0", "other"), &nodes).await;
    assert_eq!(answer["NodeNames"], json!(nodes));
    let args = json!({ "Pod": pod("u0", "payments") });
    let (_, answer) = server.send(Method::POST, &seam, None, Some(&args)).await;
    assert!(answer["Error"].as_str().unwrap().contains("NodeNames"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_judged_with_every_label_that_its_binding_will_be_judged_with() {
    let (world, _host, _maker) = healthy_host().await;
    let server = &world.server;
    assert!(server.review(&create("u1", "payments", None)).await.0);
    let mut unlabelled = pod("u1", "payments");
    unlabelled["metadata"]["labels"] = json!({});
    let nodes = ["node-de-1", "node-unknown"];
    let answer = server.extender("filter", &unlabelled, &nodes).await;
    assert_eq!(answer["NodeNames"], json!(["node-de-1"]), "{answer}");
    let bound = binding(Some("u1"), "payments", "node-unknown");
    assert!(!server.review(&bound).await.0);
    // One that was never seen with them.
    unlabelled["metadata"]["uid"] = json!("u2");
    let answer = server.extender("filter", &unlabelled, &nodes).await;
    assert_eq!(answer["NodeNames"], json!(nodes));
}

/// Scores by node.
async fn scores(world: &World, namespace: &str) -> Vec<i64> {
    let nodes = ["node-de-1", "node-de-2", "node-unknown"];
    let answer = world
        .server
        .extender("prioritize", &pod("u1", namespace), &nodes)
        .await;
    let all = answer.as_array().unwrap().iter();
    all.zip(nodes)
        .map(|(one, node)| {
            assert_eq!(one["Host"], node);
            one["Score"].as_i64().unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_verdict_lasts_longer_scores_higher() {
    let maker = Maker::new();
    let world = World::start(&Database::under_test(), &maker);
    // de-2 must attest more often, so that its verdict never lasts a third as long.
    let policy = std::fs::read_to_string(sample_policy()).unwrap();
    let (fleet, rest) = policy.split_once("\n---\n").unwrap();
    let long = fleet.replace("[\"*\"]", "[de-1]");
    let short = fleet
        .replace("[\"*\"]", "[de-2]")
        .replace("name: fleet", "name: brief")
        .replace("freshnessSeconds: 300", "freshnessSeconds: 90");
    assert_ne!(long, fleet);
    world.apply(&format!("{long}\n---\n{short}\n---\n{rest}"));
    for name in ["de-1", "de-2"] {
        let host = Host::boot(&maker.authority, name, Profile::Healthy);
        assert_eq!(world.join(&host, Some("DE")).await["tier"], "affirming");
    }
    let [long, short, unknown] = scores(&world, "payments").await[..] else {
        panic!("three nodes");
    };
    assert_eq!((long, unknown), (10, 0));
    assert!((1..=4).contains(&short), "{short}");
    assert_eq!(scores(&world, "other").await, [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_nodes_are_told_apart_in_one_request() {
    let (world, _host, _maker) = healthy_host().await;
    let names: Vec<String> = (0..5000).map(|number| format!("worker-{number}")).collect();
    let mut nodes: Vec<&str> = names.iter().map(String::as_str).collect();
    nodes[4000] = "node-de-1";
    let pod = pod("u1", "payments");
    let begun = Instant::now();
    let answer = world.server.extender("filter", &pod, &nodes).await;
    let taken = begun.elapsed();
    assert_eq!(answer["NodeNames"], json!(["node-de-1"]));
    let failed = answer["FailedAndUnresolvableNodes"].as_object().unwrap();
    assert_eq!(failed.len(), 4999);
    eprintln!("5,000 nodes in {taken:?}, by unoptimised programs");
    // A scheduler waits for five seconds, if nobody says otherwise.
    assert!(taken < Duration::from_secs(5), "{taken:?}");
    // Whole nodes of the size that they have.
    let filler = "x".repeat(8 << 10);
    let whole: Vec<Value> = nodes
        .iter()
        .map(|name| json!({ "metadata": { "name": name }, "status": { "images": filler } }))
        .collect();
    let args = json!({ "Pod": pod, "Nodes": { "items": whole } });
    let seam = world.server.seam("extender/filter");
    let (status, answer) = world
        .server
        .send(Method::POST, &seam, None, Some(&args))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["Nodes"]["items"].as_array().unwrap().len(), 1);
}
