//! Asks the attestor's webhook what a Kubernetes API server asks: may this pod run on this node?
//!
//! A pod's CREATE review comes first and names no node; its binding's review names the node and
//! carries no pod.

use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::host::fresh_uuid;
use crate::attestor::Credential;

/// As long as an API server would wait (`timeoutSeconds`).
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Namespace and name of the pod that is placed; the sample policy is for its namespace and label.
const NAMESPACE: &str = "payments";

/// The webhook, with a client that believes only the attestor's own CA.
pub(super) struct Webhook {
    http: reqwest::Client,
    url: String,
}

/// What the webhook decided about one pod on one node.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Decision {
    /// Whether the pod may run there.
    pub(super) admitted: bool,
    /// Why not, in the webhook's words.
    pub(super) message: Option<String>,
    /// Leaf hash of the audit entry.
    pub(super) entry: Option<String>,
}

#[derive(Deserialize)]
struct Review {
    response: Response,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Status>,
    #[serde(default)]
    audit_annotations: Annotations,
}

#[derive(Deserialize)]
struct Status {
    message: String,
}

#[derive(Default, Deserialize)]
struct Annotations {
    entry: Option<String>,
}

impl Webhook {
    /// The webhook that the operator's credential names.
    pub(super) fn of(operator: &Path) -> anyhow::Result<Self> {
        let credential = Credential::read(operator)?;
        // Another provider may be installed already: it does as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(credential.ca.as_bytes())?])
            .https_only(true)
            .no_proxy()
            .timeout(ANSWER_MAX)
            .build()?;
        Ok(Self {
            http,
            url: credential.webhook,
        })
    }

    /// Creates a pod and binds it to `node`.
    pub(super) async fn place(&self, node: &str) -> anyhow::Result<Decision> {
        let uid = fresh_uuid()?;
        let name = format!("api-{}", uid.get(..8).unwrap_or_default());
        let created = self.ask(pod_review(&name, &uid)?).await?;
        ensure!(
            created.allowed,
            "the pod may not even be created: {}",
            created
                .status
                .map(|status| status.message)
                .unwrap_or_default()
        );
        let bound = self.ask(binding_review(&name, &uid, node)?).await?;
        Ok(Decision {
            admitted: bound.allowed,
            message: bound.status.map(|status| status.message),
            entry: bound.audit_annotations.entry,
        })
    }

    async fn ask(&self, review: Value) -> anyhow::Result<Response> {
        let answer = self.http.post(&self.url).json(&review).send().await;
        // The URL holds the webhook's secret.
        let answer = answer.map_err(reqwest::Error::without_url)?;
        if !answer.status().is_success() {
            bail!("the webhook answers {}", answer.status());
        }
        let answer: Review = answer.json().await.map_err(reqwest::Error::without_url)?;
        ensure!(
            review["request"]["uid"] == answer.response.uid,
            "the webhook answered another review"
        );
        Ok(answer.response)
    }
}

fn pod_review(name: &str, uid: &str) -> anyhow::Result<Value> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": uid,
            "labels": { "app": "payments" },
        },
        "spec": {
            "containers": [{ "name": "api", "image": "registry.example/payments/api:1" }],
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "serviceAccountName": "default",
        },
        "status": { "phase": "Pending", "qosClass": "BestEffort" },
    });
    review(name, "Pod", None, "admin", pod)
}

fn binding_review(name: &str, uid: &str, node: &str) -> anyhow::Result<Value> {
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": name, "namespace": NAMESPACE, "uid": uid },
        "target": { "kind": "Node", "name": node },
    });
    let scheduler = "system:kube-scheduler";
    review(name, "Binding", Some("binding"), scheduler, binding)
}

/// An `admission.k8s.io/v1` AdmissionReview of a CREATE, of the shape that API servers send.
fn review(
    name: &str,
    kind: &str,
    subresource: Option<&str>,
    user: &str,
    object: Value,
) -> anyhow::Result<Value> {
    let kind = json!({ "group": "", "version": "v1", "kind": kind });
    let resource = json!({ "group": "", "version": "v1", "resource": "pods" });
    let mut request = json!({
        "uid": fresh_uuid()?,
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": name,
        "namespace": NAMESPACE,
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
    Ok(json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": request,
    }))
}
