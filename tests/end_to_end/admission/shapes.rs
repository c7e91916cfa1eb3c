//! Reviews of other shapes than a sound API server sends of pods that a policy is for.

use reqwest::Method;
use serde_json::{Value, json};
use touchstone_tests::review::{binding, create, debug, pod, running};
use touchstone_tests::server::Server;

use super::attestor;

/// What the server says of a review that it does not answer.
async fn problem(server: &Server, review: &Value) -> Value {
    let webhook = server.operator()["webhook"].as_str().unwrap().to_owned();
    let (status, answer) = server
        .send(Method::POST, &webhook, None, Some(review))
        .await;
    assert!(status.is_client_error(), "{answer}");
    answer["type"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_of_another_version_is_not_answered() {
    let server = attestor("{}", &[]);
    let code = format!("touchstone:{}", "review-version");
    let mut old = create("u1", "payments", None);
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    assert_eq!(problem(&server, &old).await, code);
    let mut other = create("u1", "payments", None);
    other["kind"] = json!("ConversionReview");
    assert_eq!(problem(&server, &other).await, code);
    let mut empty = create("u1", "payments", None);
    empty["request"] = json!(null);
    assert_eq!(problem(&server, &empty).await, code);
}

/// W11: who is not the API server fills no log, and learns nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_reviews_are_answered_by_nothing_and_leave_one_entry_at_most() {
    let server = attestor("{}", &[]);
    let webhook = server.operator()["webhook"].as_str().unwrap().to_owned();
    let (path, _secret) = webhook.rsplit_once('/').unwrap();
    let before = server.audit_entries().len();
    for number in 0..50 {
        let review = create(&format!("u{number}"), "payments", None);
        for path in [path.to_owned(), format!("{path}/{}", "0".repeat(64))] {
            let (status, answer) = server.send(Method::POST, &path, None, Some(&review)).await;
            assert_eq!(status, 401, "{answer}");
            assert_eq!(answer["type"], format!("touchstone:{}", "unauthenticated"));
        }
    }
    assert!(server.audit_entries().len() <= before + 1);
    // None of its pods is known: the binding of one is refused.
    let bound = binding(Some("u1"), "payments", "node-de-1");
    assert!(!server.review(&bound).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_without_what_it_is_about_is_refused() {
    let server = attestor("{}", &[]);
    for mut review in [
        create("u1", "payments", None),
        binding(Some("u1"), "payments", "node-de-1"),
    ] {
        let before = server.refused("review-without-object").await;
        review["request"]["object"] = json!(null);
        assert!(!server.review(&review).await.0);
        review["request"].as_object_mut().unwrap().remove("object");
        assert!(!server.review(&review).await.0);
        assert_eq!(server.refused("review-without-object").await, before + 2);
    }
    let nameless = create("", "payments", None);
    assert!(!server.review(&nameless).await.0);
    assert_eq!(server.refused("review-without-uid").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_written_otherwise_is_refused_where_a_policy_may_be_for_it() {
    let server = attestor("{}", &[]);
    let wrong = [
        json!(null),
        json!({ "containers": { "name": "c" } }),
        json!({ "containers": [{ "name": "c", "image": ["a"] }] }),
        json!({ "containers": [], "nodeName": 7 }),
    ];
    for (number, spec) in wrong.iter().enumerate() {
        let (allowed, why) = server.review(&pod("u1", spec)).await;
        assert!(!allowed && why.contains("cannot be read"), "{spec}: {why}");
        let refused = server.refused("review-malformed").await;
        assert_eq!(refused, number as u64 + 1);
    }
    // A binding in the place of a pod, and a pod in the place of a binding.
    let mut mixed = create("u1", "payments", None);
    mixed["request"]["object"] = binding(Some("u1"), "payments", "n")["request"]["object"].clone();
    assert!(!server.review(&mixed).await.0);
    let mut mixed = binding(Some("u1"), "payments", "n");
    mixed["request"]["object"] = create("u1", "payments", None)["request"]["object"].clone();
    assert!(!server.review(&mixed).await.0);
    // As an API server of 1.20 sends ephemeral containers: without the pod.
    let mut old = debug(&create("u1", "payments", Some("node-de-1")), "a");
    old["request"]["object"]
        .as_object_mut()
        .unwrap()
        .remove("spec");
    assert!(!server.review(&old).await.0);
    let mut elsewhere = pod("u1", &wrong[0]);
    elsewhere["request"]["namespace"] = json!("other");
    assert!(server.review(&elsewhere).await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_or_a_resource_that_is_not_judged_is_refused() {
    let server = attestor("{}", &[]);
    let changes = [
        ("operation", json!("DELETE")),
        ("resource", json!({ "group": "", "resource": "secrets" })),
        (
            "resource",
            json!({ "group": "example.org", "resource": "pods" }),
        ),
        ("subResource", json!("exec")),
    ];
    for (number, (field, value)) in changes.iter().enumerate() {
        let mut other = create("u1", "payments", None);
        other["request"][*field] = value.clone();
        assert!(!server.review(&other).await.0, "{field}: {value}");
        let refused = server.refused("review-unsupported").await;
        assert_eq!(refused, number as u64 + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_of_three_megabytes_with_unknown_fields_is_judged_like_any_other() {
    let server = attestor("{}", &[]);
    let digest = format!("sha256:{}", "0a".repeat(32));
    let mut large = pod("u1", &running(&format!("registry.example/api@{digest}")));
    large["request"]["object"]["metadata"]["annotations"] = json!({ "a": "x".repeat(3 << 20) });
    large["request"]["authorizer"] = json!({ "unknown": [1, { "a": null }] });
    large["request"]["object"]["spec"]["hostUsers"] = json!(false);
    large["unknown"] = json!({ "object": "a" });
    assert_eq!(server.refusals(&large).await, "none");
    large["request"]["object"]["spec"]["containers"][0]["image"] = json!("registry.example/api:1");
    assert_eq!(server.refusals(&large).await, json!(["image-by-tag"]));
    // More than an API server holds is not read at all.
    large["request"]["object"]["metadata"]["annotations"]["b"] = json!("x".repeat(1 << 20));
    assert_eq!(
        problem(&server, &large).await,
        format!("touchstone:{}", "malformed-body")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_that_is_only_tried_is_not_even_counted() {
    let server = attestor("{}", &[]);
    let before = server.audit_entries().len();
    let mut tried = pod("u1", &running("registry.example/api:1"));
    tried["request"]["dryRun"] = json!(true);
    assert!(!server.review(&tried).await.0);
    tried["request"]["object"] = json!(null);
    assert!(!server.review(&tried).await.0);
    assert_eq!(server.refused("review-without-object").await, 0);
    assert_eq!(server.audit_entries().len(), before);
    let database = server.database();
    let server = server.restart(&database);
    assert_eq!(server.audit_entries().len(), before);
}
