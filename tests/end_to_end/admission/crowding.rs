//! One namespace that asks for more than its share: of registries, and of the log.

use std::time::Duration;

use serde_json::{Value, json};
use touchstone_tests::database::Database;
use touchstone_tests::registry::Registry;
use touchstone_tests::review::{create, pod, running};
use touchstone_tests::server::Server;
use touchstone_tpm_sim::kubernetes::until;

use super::demanding;

/// Until the reviews of one namespace wait at its registry; the review itself waits two seconds.
const PATIENCE: Duration = Duration::from_secs(2);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An attestor with a policy for two namespaces, which demands this of images.
fn attestor(images: &str, more: &[&str]) -> Server {
    let server = Server::start_with(&Database::under_test(), more);
    let policy = demanding(images).replace("[payments]", "[payments, shop]");
    let file = server.file("policy.yaml", &policy);
    server.command(&["policy", "apply", &file, "--drain"]);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_names_a_slow_registry_keeps_no_other_waiting() {
    let (slow, good) = (Registry::start(), Registry::start());
    slow.fall_silent();
    let plain = [slow.name(), good.name()].join(",");
    let server = attestor("{encrypted: true}", &["--plain-http-registry", &plain]);
    let containers: Vec<Value> = (10..50)
        .map(|number| {
            let image = format!("{}/a@sha256:{}", slow.name(), number.to_string().repeat(32));
            json!({ "name": format!("c{number}"), "image": image })
        })
        .collect();
    let crowd = pod("u1", &json!({ "containers": containers }));
    let layer = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "digest": format!("sha256:{}", "0a".repeat(32)),
    });
    let manifest =
        json!({ "schemaVersion": 2, "config": { "digest": layer["digest"] }, "layers": [layer] });
    let image = good.hold("payments", MANIFEST, manifest.to_string().as_bytes());
    let mut other = create("u2", "shop", None);
    other["request"]["object"]["spec"] = running(&image);
    let (crowded, alone) = tokio::join!(server.review(&crowd), async {
        let full = async || Ok((slow.waiting() >= 4).then_some(()));
        until("its share is taken", PATIENCE, full).await.unwrap();
        server.review(&other).await
    });
    assert!(!crowded.0, "nobody told what its images are");
    assert_eq!(alone, (true, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_refused_all_the_time_is_counted() {
    let mut server = attestor("{}", &[]);
    let tagged = running("registry.example/api:1");
    for number in 0..100 {
        let uid = format!("u{number}");
        let (allowed, why) = server.review(&pod(&uid, &tagged)).await;
        assert!(!allowed && why.contains("SHA-256"), "{why}");
    }
    assert_eq!(server.decisions().len(), 60);
    // Another one is not counted with it.
    let mut elsewhere = create("u", "shop", None);
    elsewhere["request"]["object"]["spec"] = tagged;
    assert!(!server.review(&elsewhere).await.0);
    assert_eq!(server.decisions().len(), 61);
    server.stop();
    let database = server.database();
    server.restart_with(&database, &[]);
    let kind = "refusals-folded";
    let entries = server.audit_entries();
    let folded: Vec<_> = entries
        .iter()
        .filter(|entry| entry["kind"] == kind)
        .collect();
    assert_eq!(folded.len(), 1, "{folded:?}");
    assert_eq!(folded[0]["namespace"], "payments");
    assert_eq!(
        folded[0]["folded"],
        json!([{
            "operation": "CREATE pods", "policies": ["payments"], "refusals": ["image-by-tag"], "count": 40,
        }])
    );
}
