//! Labels and taints of ours on nodes: who else sets them is refused.

use serde_json::json;
use touchstone_tests::database::Database;
use touchstone_tests::review::{node, update};
use touchstone_tests::server::Server;

const TIER: &str = "node-restriction.kubernetes.io/touchstone-tier";
const OURS: &str = "system:serviceaccount:touchstone:touchstone";

#[tokio::test(flavor = "multi_thread")]
async fn our_labels_and_taints_on_a_node_are_set_by_the_attestor_alone() {
    let server = Server::start(&Database::under_test());
    let taint =
        json!([{ "key": "touchstone.dev/untrusted", "value": "untrusted", "effect": "NoExecute" }]);
    let of = |user: &str| {
        let bare = node(user, &json!({ "zone": "a" }), &json!([]));
        let good = node(user, &json!({ "zone": "a", TIER: "affirming" }), &json!([]));
        let bad = node(user, &json!({ "zone": "a" }), &taint);
        [bare, good, bad]
    };
    // Ourselves: as we like.
    let [bare, good, bad] = of(OURS);
    for review in [
        update(&bare, &good),
        update(&good, &bad),
        update(&bad, &bare),
    ] {
        assert!(server.review(&review).await.0);
    }
    // A kubelet that copies a label, an administrator who takes a taint away, a new node that comes trusted.
    for user in ["system:node:worker-1", "admin"] {
        let [bare, good, bad] = of(user);
        let before = server.refused("node-mark-protected").await;
        for review in [
            good.clone(),
            update(&bare, &good),
            update(&good, &bare),
            update(&bad, &bare),
            update(&bare, &bad),
        ] {
            let (allowed, why) = server.review(&review).await;
            assert!(!allowed && why.contains("for the attestor alone"), "{why}");
        }
        let mut status = update(&bare, &good);
        status["request"]["subResource"] = json!("status");
        assert!(!server.review(&status).await.0);
        // What it was is not shown.
        let mut hidden = update(&good, &good);
        assert!(server.review(&hidden).await.0);
        hidden["request"]["oldObject"] = json!(null);
        assert!(!server.review(&hidden).await.0);
        assert_eq!(server.refused("node-mark-protected").await, before + 7);
        // Everything else is theirs.
        let mut zone = bare.clone();
        zone["request"]["object"]["metadata"]["labels"]["zone"] = json!("b");
        for review in [
            bare.clone(),
            bad.clone(),
            update(&bare, &zone),
            update(&bad, &bad),
        ] {
            assert!(server.review(&review).await.0, "{review}");
        }
    }
}
