//! AdmissionReview v1 (`admission.k8s.io/v1`), as far as it is looked at. Unknown fields are the API
//! server's business and are skipped.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_kubernetes::pod::ObjectMeta;

/// The group and version that are answered.
const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// A review as it is received.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Review {
    api_version: String,
    kind: String,
    request: Option<Request>,
}

impl Review {
    /// The request, if it is one of the version that is understood.
    pub(crate) fn into_request(self) -> Option<Request> {
        let known = self.api_version == API_VERSION && self.kind == KIND;
        self.request.filter(|_| known)
    }
}

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
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
    /// Read once it is known what it must be.
    #[serde(default)]
    object: Option<Box<RawValue>>,
    /// What it is to be changed from.
    #[serde(default)]
    old_object: Option<Box<RawValue>>,
    #[serde(default)]
    user_info: UserInfo,
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// `UserInfo`: who asks the API server.
#[derive(Debug, Default, Deserialize)]
struct UserInfo {
    #[serde(default)]
    username: String,
}

impl Request {
    /// The object's name; where the API server is yet to make one, only the object may have it.
    pub(crate) fn name<'a>(&'a self, object: &'a ObjectMeta) -> &'a str {
        self.name_or(&object.name)
    }

    /// The same, of an object of this name.
    pub(crate) fn name_or<'a>(&'a self, object: &'a str) -> &'a str {
        match self.name.as_str() {
            "" => object,
            name => name,
        }
    }

    /// Who asks the API server, in the API server's words.
    pub(crate) fn username(&self) -> &str {
        &self.user_info.username
    }

    /// Whether it is about pods or their bindings, of whichever operation.
    pub(crate) fn asks_about_pods(&self) -> bool {
        matches!(
            self.resource_name().as_str(),
            "pods" | "pods/binding" | "pods/ephemeralcontainers" | "pods/status" | "bindings"
        )
    }

    /// What is to be.
    pub(crate) fn object<T: DeserializeOwned>(&self) -> Result<T, Finding> {
        read(self.object.as_deref())?.ok_or_else(|| Finding::new("review-without-object"))
    }

    /// Bytes of what is to be, and of what was before.
    pub(crate) fn size(&self) -> usize {
        let objects = [&self.object, &self.old_object];
        let sizes = objects.into_iter().flatten();
        sizes.map(|object| object.get().len()).sum()
    }

    /// What was before; `None`: nothing.
    pub(crate) fn old_object<T: DeserializeOwned>(&self) -> Result<Option<T>, Finding> {
        read(self.old_object.as_deref())
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

fn read<T: DeserializeOwned>(object: Option<&RawValue>) -> Result<Option<T>, Finding> {
    let Some(object) = object else {
        return Ok(None);
    };
    serde_json::from_str(object.get())
        .map(Some)
        .map_err(|error| Finding::new("review-malformed").observed(error))
}

/// `GroupVersionResource`.
#[derive(Debug, Deserialize)]
pub(crate) struct Resource {
    #[serde(default)]
    pub(crate) group: String,
    pub(crate) resource: String,
}

/// `Binding`.
#[derive(Debug, Deserialize)]
pub(crate) struct Binding {
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    pub(crate) target: Target,
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
    pub(crate) fn allowed(request: &Request, entry: Option<Sha256Digest>) -> Self {
        Self::new(request, true, None, entry)
    }

    /// Allowed, with these changes of the object; `patch` is a JSON Patch.
    pub(crate) fn patched(request: &Request, patch: &[u8]) -> Self {
        let mut allowed = Self::allowed(request, None);
        allowed.response.patch = Some(EncodedPatch {
            patch_type: "JSONPatch",
            patch: STANDARD.encode(patch),
        });
        allowed
    }

    /// Refused, with words for whoever made the pod.
    pub(crate) fn refused(request: &Request, why: &str, entry: Option<Sha256Digest>) -> Self {
        let status = Status {
            code: 403,
            reason: "Forbidden",
            message: why.to_owned(),
        };
        Self::new(request, false, Some(status), entry)
    }

    fn new(
        request: &Request,
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
