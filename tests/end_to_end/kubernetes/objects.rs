//! Policy manifests as objects of a cluster that the attestor takes no policies from, and who writes them in one that it
//! does.

use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::cluster::{Cluster, PATIENCE};
use touchstone_tests::server::Server;
use touchstone_tpm_sim::kubernetes::until;

pub(super) async fn a_policy_object_that_nobody_takes_says_so(cluster: &Cluster) {
    let list = "/apis/touchstone.dev/v1/regions";
    let region = json!({
        "apiVersion": "touchstone.dev/v1",
        "kind": "Region",
        "metadata": { "name": "alps" },
        "spec": { "version": 1, "countries": ["AT", "CH"] },
    });
    cluster.api().create(list, &region).await.unwrap();
    let path = format!("{list}/alps");
    let status = until("the object says that it is in vain", PATIENCE, async || {
        let status = cluster.api().get(&path).await?["status"].take();
        Ok((status["effect"] == "Ignored").then_some(status))
    });
    let status = status.await.unwrap();
    let message = status["message"].as_str().unwrap();
    for part in [
        "not in force",
        "`policies = \"bundle\"`",
        "`touchstone policy apply`",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(status["observedGeneration"], 1);
}

fn alps(countries: &[&str]) -> Value {
    json!({
        "apiVersion": "touchstone.dev/v1",
        "kind": "Region",
        "metadata": { "name": "alps" },
        "spec": { "version": 1, "countries": countries },
    })
}

/// What an API server asks when `user` writes `after` in the place of `before`.
fn written(operation: &str, user: &str, before: &Value, after: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": format!("{operation}-{user}"),
            "kind": { "group": "touchstone.dev", "version": "v1", "kind": "Region" },
            "resource": { "group": "touchstone.dev", "version": "v1", "resource": "regions" },
            "name": "alps",
            "operation": operation,
            "userInfo": { "username": user },
            "object": after,
            "oldObject": before,
            "dryRun": false,
        },
    })
}

/// What an API server asks when somebody writes a manifest.
pub(super) fn creation() -> Value {
    written("CREATE", "eve", &Value::Null, &alps(&["AT"]))
}

/// `of` serves a cluster that policies are taken from, beside `attestor`.
pub(super) async fn whoever_writes_a_policy_object_is_in_the_log(attestor: &Server, of: &Server) {
    let (one, other, none) = (alps(&["AT"]), alps(&["AT", "CH"]), Value::Null);
    let mut tried = written("CREATE", "nobody", &none, &one);
    tried["request"]["dryRun"] = json!(true);
    // Once all kinds were listed.
    until("a manifest may be written", PATIENCE, async || {
        Ok(of.review(&tried).await.0.then_some(()))
    })
    .await
    .unwrap();
    let broken = written("CREATE", "eve", &none, &alps(&["XX"]));
    let (allowed, why) = of.review(&broken).await;
    assert!(!allowed && why.contains("XX"), "{why}");
    for review in [
        written("CREATE", "anna", &none, &one),
        written("UPDATE", "bert", &one, &other),
        // It says again what is so.
        written("UPDATE", "carl", &other, &other),
        written("DELETE", "dora", &other, &none),
    ] {
        let (allowed, why) = of.review(&review).await;
        assert!(allowed, "{why}");
    }
    let entries = attestor.audit_entries().into_iter();
    let told = entries.filter(|entry| entry["kind"] == "policy-object-written");
    let told: Vec<Value> = told
        .map(|entry| {
            assert_eq!(
                (&entry["cluster"], &entry["object"]),
                (&json!("east"), &json!("Region/alps"))
            );
            json!([entry["operation"], entry["user"], entry["manifest"]])
        })
        .collect();
    let digest = |manifest: &Value| {
        let document = format!("---\n{manifest:#}\n");
        Sha256Digest::of(document.as_bytes()).to_string()
    };
    assert_eq!(
        told,
        [
            json!(["CREATE", "anna", digest(&one)]),
            json!(["UPDATE", "bert", digest(&other)]),
            json!(["DELETE", "dora", null]),
        ]
    );
}
