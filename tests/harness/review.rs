//! AdmissionReviews in the shape in which API servers send them, and the webhook's answers.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::Server;

/// CREATE of a pod; `node`: `spec.nodeName` is set from the start.
#[must_use]
pub fn create(uid: &str, namespace: &str, node: Option<&str>) -> Value {
    let mut spec =
        json!({ "containers": [{ "name": "c", "image": "registry.example/api@sha256:0" }] });
    if let Some(node) = node {
        spec["nodeName"] = json!(node);
    }
    review(
        "pods",
        None,
        json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": { "name": "api", "namespace": namespace, "uid": uid, "labels": { "app": "payments" } },
            "spec": spec,
        }),
    )
}

/// Binding of a pod to a node.
#[must_use]
pub fn binding(uid: Option<&str>, namespace: &str, node: &str) -> Value {
    let mut metadata = json!({ "name": "api", "namespace": namespace });
    if let Some(uid) = uid {
        metadata["uid"] = json!(uid);
    }
    review(
        "pods",
        Some("binding"),
        json!({
            "kind": "Binding", "apiVersion": "v1", "metadata": metadata,
            "target": { "kind": "Node", "name": node },
        }),
    )
}

/// CREATE of a pod of the sample workload with this `spec`.
#[must_use]
pub fn pod(uid: &str, spec: &Value) -> Value {
    let mut review = create(uid, "payments", None);
    review["request"]["object"]["spec"] = spec.clone();
    review
}

/// A review of a pod that a controller with this uid made, by this revision of its template.
#[must_use]
pub fn made_by(mut review: Value, kind: &str, uid: &str, revision: &str) -> Value {
    let metadata = &mut review["request"]["object"]["metadata"];
    let owner = json!({ "apiVersion": "apps/v1", "kind": kind, "name": "api", "uid": uid, "controller": true });
    metadata["ownerReferences"] = json!([owner]);
    let label = match kind {
        "ReplicaSet" => "pod-template-hash",
        _ => "controller-revision-hash",
    };
    metadata["labels"][label] = json!(revision);
    review
}

/// The `spec` of a pod of one container with this image.
#[must_use]
pub fn running(image: &str) -> Value {
    json!({ "containers": [{ "name": "c", "image": image }] })
}

/// UPDATE of what one review made to what another would make.
#[must_use]
pub fn update(before: &Value, after: &Value) -> Value {
    let mut review = after.clone();
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["oldObject"] = before["request"]["object"].clone();
    review
}

/// UPDATE of `pods/ephemeralcontainers`: a container with this image comes into the pod of a review.
#[must_use]
pub fn debug(before: &Value, image: &str) -> Value {
    let mut after = before.clone();
    let containers = json!([{ "name": "debugger", "image": image, "targetContainerName": "c" }]);
    after["request"]["object"]["spec"]["ephemeralContainers"] = containers;
    after["request"]["subResource"] = json!("ephemeralcontainers");
    update(before, &after)
}

/// CREATE of a node with these labels and taints, by `user`.
#[must_use]
pub fn node(user: &str, labels: &Value, taints: &Value) -> Value {
    let object = json!({
        "kind": "Node", "apiVersion": "v1", "metadata": { "name": "worker-1", "labels": labels },
        "spec": { "podCIDR": "10.0.0.0/24", "taints": taints },
    });
    let mut review = review("nodes", None, object);
    let request = review["request"].as_object_mut().unwrap();
    request.remove("namespace");
    request["name"] = json!("worker-1");
    review["request"]["userInfo"]["username"] = json!(user);
    review
}

fn review(resource: &str, sub_resource: Option<&str>, object: Value) -> Value {
    let mut request = json!({
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": { "group": "", "version": "v1", "kind": object["kind"] },
        "resource": { "group": "", "version": "v1", "resource": resource },
        "name": "api", "namespace": object["metadata"]["namespace"], "operation": "CREATE",
        "userInfo": { "username": "system:kube-scheduler" },
        "object": object, "oldObject": null, "dryRun": false,
    });
    if let Some(sub_resource) = sub_resource {
        request["subResource"] = json!(sub_resource);
    }
    json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request })
}

impl Server {
    /// Sends a review to the secret path; whether it was allowed, and the message.
    pub async fn review(&self, review: &Value) -> (bool, String) {
        let webhook = self.operator()["webhook"].as_str().unwrap().to_owned();
        let (status, answer) = self.send(Method::POST, &webhook, None, Some(review)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
        let message = answer["response"]["status"]["message"].as_str();
        (
            answer["response"]["allowed"].as_bool().unwrap(),
            message.unwrap_or_default().to_owned(),
        )
    }

    /// What becomes of a review: `none` where it is allowed, else the codes of its entry.
    pub async fn refusals(&self, review: &Value) -> Value {
        let before = self.decisions().len();
        let (allowed, why) = self.review(review).await;
        if allowed {
            return json!("none");
        }
        let decisions = self.decisions();
        assert_eq!(decisions.len(), before + 1, "no entry: {why}");
        assert_eq!(decisions[before]["admitted"], false);
        decisions[before]["refusals"].clone()
    }

    /// Entries of what was decided about pods, the oldest first.
    #[must_use]
    pub fn decisions(&self) -> Vec<Value> {
        let mut entries = self.audit_entries();
        entries.retain(|entry| entry["kind"] == "admission-decided");
        entries
    }

    /// How often something was refused with this code.
    pub async fn refused(&self, code: &str) -> u64 {
        let metrics = self.text("/metrics").await;
        let name = format!("touchstone_refusals_total{{code=\"{code}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// A gauge or counter without labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = self.text("/metrics").await;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap().parse().unwrap()
    }

    /// CREATE of a new pod of the sample workload, then its binding to `node`.
    pub async fn place(&self, uid: &str, node: &str) -> (bool, String) {
        let (created, why) = self.review(&create(uid, "payments", None)).await;
        assert!(created, "{why}");
        self.review(&binding(Some(uid), "payments", node)).await
    }

    /// Whether the API server would let the pod onto `node` within a second: whatever fails is a refusal.
    pub async fn admits(&self, uid: &str, node: &str) -> bool {
        let webhook = self.operator()["webhook"].as_str().unwrap().to_owned();
        let reviews = [
            create(uid, "payments", None),
            binding(Some(uid), "payments", node),
        ];
        for review in &reviews {
            let asked = self.send(Method::POST, &webhook, None, Some(review));
            match tokio::time::timeout(Duration::from_secs(1), asked).await {
                Ok((StatusCode::OK, answer)) if answer["response"]["allowed"] == true => {}
                _ => return false,
            }
        }
        true
    }

    /// The secret URL of another of the cluster's seams: `mutate`, `extender/filter`, `extender/prioritize`.
    #[must_use]
    pub fn seam(&self, name: &str) -> String {
        let webhook = self.operator()["webhook"].as_str().unwrap().to_owned();
        webhook.replace("/validate/", &format!("/{name}/"))
    }

    /// Sends a review to the mutating webhook, which always allows; the object as the API server has it after that.
    pub async fn mutate(&self, review: &Value) -> Value {
        let seam = self.seam("mutate");
        let (status, answer) = self.send(Method::POST, &seam, None, Some(review)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let response = &answer["response"];
        assert_eq!(response["uid"], review["request"]["uid"]);
        assert_eq!(response["allowed"], true, "{answer}");
        let mut object = review["request"]["object"].clone();
        if let Some(patch) = response["patch"].as_str() {
            assert_eq!(response["patchType"], "JSONPatch");
            let patch = STANDARD.decode(patch).unwrap();
            let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
            json_patch::patch(&mut object, &patch).unwrap();
        }
        object
    }

    /// Asks one of the extender's verbs about a pod and nodes that are named.
    pub async fn extender(&self, verb: &str, pod: &Value, nodes: &[&str]) -> Value {
        let args = json!({ "Pod": pod, "Nodes": null, "NodeNames": nodes });
        let seam = self.seam(&format!("extender/{verb}"));
        let (status, answer) = self.send(Method::POST, &seam, None, Some(&args)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }
}
