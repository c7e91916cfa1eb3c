//! What a Kubernetes API server asks an admission webhook about a pod: may it be made, may it be bound to a node?
//!
//! A pod's CREATE review comes first and names no node; its binding's review names the node and carries no pod.

use serde::Deserialize;
use serde_json::{Value, json};

/// A pod.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What the API server calls it.
    pub uid: &'a str,
    /// Its label `app`.
    pub app: &'a str,
}

impl Pod<'_> {
    /// The `admission.k8s.io/v1` AdmissionReview of its creation, of the shape that API servers send; `review` is
    /// the review's uid.
    #[must_use]
    pub fn creation(&self, review: &str) -> Value {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "uid": self.uid,
                "labels": { "app": self.app },
            },
            "spec": {
                "containers": [{ "name": "api", "image": "registry.example/payments/api:1" }],
                "restartPolicy": "Always",
                "schedulerName": "default-scheduler",
                "serviceAccountName": "default",
            },
            "status": { "phase": "Pending", "qosClass": "BestEffort" },
        });
        self.review(review, "Pod", None, "admin", pod)
    }

    /// The review of its binding to `node`.
    #[must_use]
    pub fn binding(&self, review: &str, node: &str) -> Value {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "name": self.name, "namespace": self.namespace, "uid": self.uid },
            "target": { "kind": "Node", "name": node },
        });
        let scheduler = "system:kube-scheduler";
        self.review(review, "Binding", Some("binding"), scheduler, binding)
    }

    /// The review of a binding that is only tried (`dryRun`): it is judged, and nothing is to be written.
    #[must_use]
    pub fn trial(&self, review: &str, node: &str) -> Value {
        let mut trial = self.binding(review, node);
        trial["request"]["dryRun"] = true.into();
        trial
    }

    fn review(
        &self,
        uid: &str,
        kind: &str,
        subresource: Option<&str>,
        user: &str,
        object: Value,
    ) -> Value {
        let kind = json!({ "group": "", "version": "v1", "kind": kind });
        let resource = json!({ "group": "", "version": "v1", "resource": "pods" });
        let mut request = json!({
            "uid": uid,
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": self.name,
            "namespace": self.namespace,
            "operation": "CREATE",
            "userInfo": { "username": user, "groups": ["system:authenticated"] },
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        });
        if let Some(subresource) = subresource {
            request["subResource"] = subresource.into();
            request["requestSubResource"] = subresource.into();
        }
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": request,
        })
    }
}

/// What a webhook answers.
#[derive(Debug, Deserialize)]
pub struct Answer {
    response: Decision,
}

/// What it decided.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    uid: String,
    /// Whether it may be.
    pub allowed: bool,
    status: Option<Status>,
    #[serde(default)]
    audit_annotations: Annotations,
}

#[derive(Debug, Deserialize)]
struct Status {
    message: String,
}

#[derive(Debug, Default, Deserialize)]
struct Annotations {
    entry: Option<String>,
}

impl Answer {
    /// The decision, if it is about the review with this uid.
    #[must_use]
    pub fn to(self, review: &str) -> Option<Decision> {
        Some(self.response).filter(|decision| decision.uid == review)
    }
}

impl Decision {
    /// Why not, in the webhook's words.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.status.as_ref().map(|status| status.message.as_str())
    }

    /// Leaf hash of the audit entry; creations have none.
    #[must_use]
    pub fn entry(&self) -> Option<&str> {
        self.audit_annotations.entry.as_deref()
    }
}
