//! What a cluster asks: of pods, and of nodes for them.

use serde_json::json;
use touchstone_tests::review::{binding, create};

use super::Story;

impl Story {
    /// Pods that may run, that may not, and that no policy is for.
    pub(super) async fn pods(&self) {
        for path in [
            "/kubernetes/v1/validate",
            "/kubernetes/v1/validate/{secret}",
        ] {
            self.post(path, create(path, "elsewhere", None)).await;
            self.post(path, create(path, "payments", None)).await;
            let allowed = self
                .post(path, binding(Some(path), "payments", "node-de-1"))
                .await;
            assert_eq!(allowed["response"]["allowed"], true, "{allowed}");
            let refused = self
                .post(path, binding(Some(path), "payments", "nowhere"))
                .await;
            assert_eq!(refused["response"]["status"]["code"], 403, "{refused}");
        }
    }

    /// What a mutating webhook and a scheduler's extender are asked.
    pub(super) async fn placements(&self) {
        let nodes = ["node-de-1", "nowhere"];
        let items = nodes.map(|name| json!({ "metadata": { "name": name }, "spec": {} }));
        for secret in ["", "/{secret}"] {
            let path = format!("/kubernetes/v1/mutate{secret}");
            let patched = self.post(&path, create("u1", "payments", None)).await;
            assert_eq!(patched["response"]["patchType"], "JSONPatch", "{patched}");
            let same = self.post(&path, create("u1", "elsewhere", None)).await;
            assert!(same["response"].get("patch").is_none(), "{same}");
            let pod = create("u1", "payments", None)["request"]["object"].clone();
            for args in [
                json!({ "Pod": pod, "NodeNames": nodes }),
                json!({ "Pod": pod, "Nodes": { "items": items } }),
                json!({ "Pod": pod }),
            ] {
                let path = format!("/kubernetes/v1/extender/filter{secret}");
                self.post(&path, args.clone()).await;
                let path = format!("/kubernetes/v1/extender/prioritize{secret}");
                self.post(&path, args).await;
            }
        }
    }
}
