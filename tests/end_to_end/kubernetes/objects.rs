//! Policy manifests as objects of a cluster that the attestor takes no policies from.

use serde_json::json;
use touchstone_tests::cluster::{Cluster, PATIENCE};
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
