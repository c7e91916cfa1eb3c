//! A workload is what its first pod was made of, wherever and however often its pods are made anew.

use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::database::Database;
use touchstone_tests::host::{Host, Profile};
use touchstone_tests::registry::Registry;
use touchstone_tests::review::{binding, made_by, pod, running, update};
use touchstone_tests::server::Server;
use touchstone_tests::world::{Maker, World, healthy_host};

use super::demanding;

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

fn image(byte: &str) -> String {
    format!("registry.example/api@sha256:{}", byte.repeat(32))
}

/// CREATE of a pod of a ReplicaSet, by this revision of its template.
fn replica(uid: &str, revision: &str, image: &str) -> Value {
    let pod = pod(uid, &running(image));
    made_by(pod, "ReplicaSet", "rs-1", revision)
}

/// The same with its node.
fn on_node(mut review: Value) -> Value {
    review["request"]["object"]["spec"]["nodeName"] = json!("node-de-1");
    review
}

/// What becomes of a pod that is made and then bound.
async fn placed(server: &Server, uid: &str, review: &Value) -> Value {
    assert_eq!(server.refusals(review).await, "none");
    bound(server, uid).await
}

async fn bound(server: &Server, uid: &str) -> Value {
    let binding = binding(Some(uid), "payments", "node-de-1");
    server.refusals(&binding).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_to_be_what_the_first_of_its_workload_was() {
    let (mut world, _host, _maker) = healthy_host().await;
    world.apply(&demanding("{}"));
    let server = &world.server;
    let first = replica("u1", "r1", &image("0a"));
    assert_eq!(placed(server, "u1", &first).await, "none");
    let entry = server.decisions().pop().unwrap();
    assert_eq!(entry["recorded"], true);
    let workload = json!({ "kind": "ReplicaSet", "name": "api", "uid": "rs-1", "revision": "r1" });
    assert_eq!(entry["workload"], workload);
    // The next one is the same, and leaves no record.
    let same = replica("u2", "r1", &image("0a"));
    assert_eq!(placed(server, "u2", &same).await, "none");
    assert!(server.decisions().pop().unwrap().get("recorded").is_none());
    // Another one is refused, however it comes.
    let other = replica("u3", "r1", &image("0b"));
    let mut more = replica("u3", "r1", &image("0a"));
    more["request"]["object"]["spec"]["initContainers"] =
        json!([{ "name": "x", "image": image("0a") }]);
    let changed = json!(["workload-changed"]);
    let there = on_node(first.clone());
    for review in [
        other.clone(),
        more,
        on_node(other.clone()),
        update(&there, &on_node(other.clone())),
        // A label does not take it out of its workload on the way.
        update(&there, &on_node(replica("u1", "r2", &image("0b")))),
    ] {
        assert_eq!(server.refusals(&review).await, changed, "{review}");
    }
    let (_, why) = server.review(&other).await;
    for part in [
        "container `c`",
        &"0a".repeat(32),
        &image("0b"),
        "another revision",
    ] {
        assert!(why.contains(part), "`{part}` is not in: {why}");
    }
    // Another revision is another workload, and so is another controller.
    let next = replica("u4", "r2", &image("0b"));
    assert_eq!(placed(server, "u4", &next).await, "none");
    let theirs = pod("u5", &running(&image("0b")));
    let theirs = made_by(theirs, "ReplicaSet", "rs-2", "r1");
    assert_eq!(placed(server, "u5", &theirs).await, "none");
    // What is recorded outlives the attestor.
    let database = world.server.database();
    world.server.restart_with(&database, &[]);
    let server = &world.server;
    assert_eq!(server.refusals(&other).await, changed);
    assert_eq!(
        placed(server, "u6", &replica("u6", "r1", &image("0a"))).await,
        "none"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pods_that_differ_the_first_that_is_bound_is_its_workload_s() {
    let (world, _host, _maker) = healthy_host().await;
    world.apply(&demanding("{}"));
    let server = &world.server;
    for (uid, byte) in [("u1", "0a"), ("u2", "0b")] {
        let review = replica(uid, "r1", &image(byte));
        assert_eq!(server.refusals(&review).await, "none");
    }
    assert_eq!(bound(server, "u2").await, "none");
    assert_eq!(bound(server, "u1").await, json!(["workload-changed"]));
    // One that was another while it waited is neither.
    let before = replica("u3", "r2", &image("0a"));
    assert_eq!(server.refusals(&before).await, "none");
    let after = update(&before, &replica("u3", "r2", &image("0b")));
    assert_eq!(server.refusals(&after).await, "none");
    assert_eq!(bound(server, "u3").await, json!(["workload-changed"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_pods_that_differ_and_are_bound_at_once_one_is_admitted() {
    let (world, _host, _maker) = healthy_host().await;
    world.apply(&demanding("{}"));
    let server = &world.server;
    for round in 0..12 {
        let ask = async |number: u8| {
            let (uid, revision) = (format!("u{round}-{number}"), format!("r{round}"));
            let review = on_node(replica(&uid, &revision, &image(&format!("{number:02x}"))));
            server.review(&review).await
        };
        let answers = tokio::join!(ask(1), ask(2), ask(3), ask(4), ask(5), ask(6));
        let (a, b, c, d, e, f) = answers;
        let (admitted, refused): (Vec<_>, Vec<_>) = [a, b, c, d, e, f]
            .into_iter()
            .partition(|(allowed, _)| *allowed);
        assert_eq!(admitted.len(), 1, "{round}");
        assert!(
            refused
                .iter()
                .all(|(_, why)| why.contains("(`workload-changed`)")),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_tried_or_refused_records_nothing() {
    let (world, _host, _maker) = healthy_host().await;
    world.apply(&demanding("{}"));
    let server = &world.server;
    let first = replica("u1", "r1", &image("0a"));
    let mut tried = on_node(first.clone());
    tried["request"]["dryRun"] = json!(true);
    assert!(server.review(&tried).await.0);
    let mut elsewhere = first.clone();
    elsewhere["request"]["object"]["spec"]["nodeName"] = json!("nowhere");
    assert_eq!(server.refusals(&elsewhere).await, json!(["node-unmapped"]));
    let other = replica("u2", "r1", &image("0b"));
    assert_eq!(placed(server, "u2", &other).await, "none");
    assert_eq!(server.refusals(&first).await, json!(["workload-changed"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_controller_is_a_workload_by_itself() {
    let (world, _host, _maker) = healthy_host().await;
    world.apply(&demanding("{}"));
    let server = &world.server;
    for (uid, byte) in [("u1", "0a"), ("u2", "0b")] {
        let review = pod(uid, &running(&image(byte)));
        assert_eq!(placed(server, uid, &review).await, "none");
        let entry = server.decisions().pop().unwrap();
        let workload = json!({ "kind": "Pod", "name": "api", "uid": uid, "revision": "" });
        // Its record is written behind the answer: the entry promises none.
        assert_eq!(entry["workload"], workload);
        assert!(entry.get("recorded").is_none());
    }
    let mut large = running(&image("0a"));
    let images =
        (0..129).map(|number| json!({ "name": format!("c{number}"), "image": image("0a") }));
    large["containers"] = images.collect();
    assert_eq!(
        server.refusals(&pod("u3", &large)).await,
        json!(["workload-too-large"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_shown_with_what_was_known_of_its_images() {
    let registry = Registry::start();
    let maker = Maker::new();
    let plain = ["--plain-http-registry", &registry.name()];
    let server = Server::start_with(&Database::under_test(), &plain);
    let world = World::on(server, &maker);
    let host = Host::boot(&maker.authority, "de-1", Profile::Healthy);
    world.join(&host, Some("DE")).await;
    world.apply(&demanding("{encrypted: true}"));
    let server = &world.server;
    let [config, layer] = ["config", "layer"].map(|text| digest(text.as_bytes()));
    let manifest = json!({ "schemaVersion": 2, "config": { "digest": config },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "digest": layer }] });
    let manifest = manifest.to_string();
    let image = digest(manifest.as_bytes());
    let media = "application/vnd.oci.image.manifest.v1+json";
    registry.put("payments", &image, media, manifest.as_bytes());
    let reference = format!("{}/payments@{image}", registry.name());
    assert_eq!(
        placed(server, "u1", &replica("u1", "r1", &reference)).await,
        "none"
    );
    server.command(&["image", "register", "--plain-http", &reference]);
    for (uid, name) in [("u2", "api-r2"), ("u3", "api-r1")] {
        let mut next = replica(uid, &name[4..], &reference);
        let owner = &mut next["request"]["object"]["metadata"]["ownerReferences"][0];
        (owner["name"], owner["uid"]) = (json!(name), json!(format!("rs-{name}")));
        assert_eq!(placed(server, uid, &next).await, "none");
    }
    let list = server.command(&["workload", "list", "--namespace", "payments"]);
    let named = |answer: &Value| -> Vec<String> {
        let all = answer["workloads"].as_array().unwrap().iter();
        all.map(|one| {
            format!(
                "{} {}",
                one["name"].as_str().unwrap(),
                one["revision"].as_str().unwrap()
            )
        })
        .collect()
    };
    assert_eq!(named(&list), ["api r1", "api-r1 r1", "api-r2 r2"]);
    let none = server.command(&["workload", "list", "--namespace", "shop"]);
    assert_eq!(none, json!({ "workloads": [] }));
    let here = ["workload", "list", "--cluster", "default"];
    assert_eq!(named(&server.command(&here)), named(&list));
    for other in [
        &["--cluster", "west"][..],
        &["--cluster", "west", "--namespace", "payments"],
        // What would be two parameters if it were not written as one value.
        &["--namespace", "payments&after=a/b/c"],
        &["--namespace", "pay ments#%+"],
    ] {
        let none = server.command(&[&here[..2], other].concat());
        assert_eq!(none, json!({ "workloads": [] }), "{other:?}");
    }
    // A Deployment is all of its ReplicaSets.
    let shown = server.command(&["workload", "show", "payments/api"]);
    assert_eq!(shown["workloads"].as_array().unwrap().len(), 3);
    let one = server.command(&["workload", "show", "payments/api-r2"]);
    let one = &one["workloads"][0];
    let made = |publisher: Option<&str>| {
        json!([{
            "container": "c", "used": "ordinary", "reference": reference, "manifest": image, "config": config,
            "layers": [layer], "encrypted": true, "publisher": publisher, "signers": null,
        }])
    };
    assert_eq!(one["images"], made(Some("operator")));
    assert_eq!(one["moves"], json!([]));
    // It was not registered yet when the first was made.
    let mut all = shown["workloads"].as_array().unwrap().iter();
    let first = all.find(|one| one["name"] == "api").unwrap();
    assert_eq!(first["images"], made(None));
    let export = String::from_utf8(server.run(&["audit", "export"]).stdout).unwrap();
    let leaf = format!("\"leaf\":{}", one["entry"]);
    assert_eq!(export.matches(&leaf).count(), 1);
    let said = server.refusal(&["workload", "show", "payments/nobody"]);
    assert!(said.contains("workload-unknown"), "{said}");
}
