//! AdmissionReview v1 (`admission.k8s.io/v1`), as far as it is looked at. Unknown fields are the API
//! server's business and are skipped.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use touchstone_evidence::digest::Sha256Digest;

use super::tolerations::Toleration;

/// The group and version that are answered.
const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// A review as it is received.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Review<O = Object> {
    api_version: String,
    kind: String,
    request: Option<Request<O>>,
}

impl<O> Review<O> {
    /// The request, if it is one of the version that is understood.
    pub(crate) fn into_request(self) -> Option<Request<O>> {
        let known = self.api_version == API_VERSION && self.kind == KIND;
        self.request.filter(|_| known)
    }
}

/// What is asked; `O` is what is read of the object.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request<O = Object> {
    /// Must be in the answer.
    pub(crate) uid: String,
    pub(crate) resource: Resource,
    #[serde(default)]
    pub(crate) sub_resource: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    pub(crate) namespace: String,
    pub(crate) operation: String,
    pub(crate) object: Option<O>,
    /// What an update takes the place of.
    #[serde(default)]
    pub(crate) old_object: Option<Value>,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

impl Request {
    /// The pod's name; where the API server generated it, only the object has it.
    pub(crate) fn pod_name(&self) -> &str {
        match &self.object {
            Some(object) if self.name.is_empty() => &object.metadata.name,
            _ => &self.name,
        }
    }
}

impl<O> Request<O> {
    /// Whether it is about pods or their bindings, of whichever operation.
    pub(crate) fn asks_about_pods(&self) -> bool {
        matches!(
            self.resource_name().as_str(),
            "pods" | "pods/binding" | "bindings"
        )
    }

    /// `resource` or `resource/subresource`; a resource outside of the core group keeps its group.
    pub(crate) fn resource_name(&self) -> String {
        let mut name = self.resource.resource.clone();
        if !self.resource.group.is_empty() {
            name = format!("{}.{name}", self.resource.group);
        }
        if let Some(sub) = self.sub_resource.as_deref().filter(|sub| !sub.is_empty()) {
            name = format!("{name}/{sub}");
        }
        name
    }
}

/// `GroupVersionResource`.
#[derive(Debug, Deserialize)]
pub(crate) struct Resource {
    #[serde(default)]
    pub(crate) group: String,
    pub(crate) resource: String,
}

/// A pod or a binding.
#[derive(Debug, Deserialize)]
pub(crate) struct Object {
    #[serde(default)]
    pub(crate) metadata: Metadata,
    #[serde(default)]
    pub(crate) spec: Option<PodSpec>,
    #[serde(default)]
    pub(crate) target: Option<Target>,
}

/// `ObjectMeta`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Metadata {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) uid: Option<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

/// `PodSpec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    #[serde(default)]
    pub(crate) node_name: Option<String>,
    #[serde(default)]
    pub(crate) tolerations: Vec<Toleration>,
}

/// What a pod is bound to.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
}

/// The answer, in its envelope.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Response {
    api_version: &'static str,
    kind: &'static str,
    response: Answer,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    patch: Option<EncodedPatch>,
}

/// A JSON Patch (RFC 6902) of the object, in base64.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EncodedPatch {
    patch_type: &'static str,
    patch: String,
}

#[derive(Debug, Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
}

impl Response {
    /// Allowed; `entry` names the audit entry of the decision.
    pub(crate) fn allowed<O>(request: &Request<O>, entry: Option<Sha256Digest>) -> Self {
        Self::new(request, true, None, entry)
    }

    /// Allowed, with these changes of the object; `patch` is a JSON Patch.
    pub(crate) fn patched<O>(request: &Request<O>, patch: &[u8]) -> Self {
        let mut allowed = Self::allowed(request, None);
        allowed.response.patch = Some(EncodedPatch {
            patch_type: "JSONPatch",
            patch: STANDARD.encode(patch),
        });
        allowed
    }

    /// Refused, with words for whoever made the pod.
    pub(crate) fn refused<O>(request: &Request<O>, why: &str, entry: Option<Sha256Digest>) -> Self {
        let status = Status {
            code: 403,
            reason: "Forbidden",
            message: why.to_owned(),
        };
        Self::new(request, false, Some(status), entry)
    }

    fn new<O>(
        request: &Request<O>,
        allowed: bool,
        status: Option<Status>,
        entry: Option<Sha256Digest>,
    ) -> Self {
        let annotation = entry.map(|leaf| ("entry", leaf.to_string()));
        Self {
            api_version: API_VERSION,
            kind: KIND,
            response: Answer {
                uid: request.uid.clone(),
                allowed,
                status,
                audit_annotations: annotation.into_iter().collect(),
                patch: None,
            },
        }
    }
}
