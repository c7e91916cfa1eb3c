//! `HostTrust`: what is held about the host behind a node, as an object that `kubectl get hosttrust` shows.
//!
//! It is there to be read. Nothing is decided by it, and what is signed in it names the node's uid and the host's boot.

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterError};
use crate::lenient::Lenient;
use crate::names::MANAGER;
use crate::node::Node;

/// Who writes the status.
const STATUS_MANAGER: &str = "touchstone-status";

/// Most objects that are listed at once.
const PAGE: u32 = 500;

/// `.status` of the object that is named as its node.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HostTrustStatus {
    /// The host behind the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its tier.
    pub tier: String,
    /// Where it stands, ISO 3166-1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The node that it was said of: another one of its name is another node.
    pub node_uid: String,
    /// The boot that was appraised: `resets.restarts` of its TPM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Why the tier is not better, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether pods that a policy is for may run there.
    pub conditions: Vec<Condition>,
    /// The attestation result, signed by the attestor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
}

/// `metav1.Condition`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// `Trusted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A finding's code, in CamelCase.
    pub reason: String,
    /// In words.
    pub message: String,
    /// RFC 3339: since when it is so.
    pub last_transition_time: String,
}

fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("touchstone.dev", "v1", "HostTrust");
    ApiResource::from_gvk_with_plural(&kind, "hosttrusts")
}

impl Cluster {
    /// What is said of nodes, by their names; an object whose status cannot be read says nothing.
    pub async fn said(&self) -> Result<Vec<(String, HostTrustStatus)>, ClusterError> {
        type Object = Lenient<Value, HostTrustStatus>;
        let api = Api::<Object>::all_with(self.client.clone(), &resource());
        let mut parameters = ListParams::default().limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = self.look(api.list(&parameters)).await?;
            all.extend(page.items.into_iter().filter_map(named));
            parameters.continue_token = page.metadata.continue_.filter(|next| !next.is_empty());
            if parameters.continue_token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Writes what is said of `node`. The object belongs to the node, and goes with it.
    pub async fn say(&self, node: &Node, status: &HostTrustStatus) -> Result<(), ClusterError> {
        let Some(name) = &node.metadata.name else {
            return Ok(());
        };
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource());
        let parameters = PatchParams::apply(MANAGER).force();
        let owner = json!({
            "apiVersion": "v1", "kind": "Node", "name": name, "uid": node.metadata.uid,
        });
        let object = json!({
            "apiVersion": "touchstone.dev/v1",
            "kind": "HostTrust",
            "metadata": { "name": name, "ownerReferences": [owner] },
        });
        let object = Patch::Apply(object);
        let written = self.look(api.patch(name, &parameters, &object)).await;
        written.map_err(|error| error.or_undefined("HostTrust"))?;
        let status = json!({
            "apiVersion": "touchstone.dev/v1", "kind": "HostTrust", "status": status,
        });
        // Another manager: servers before 1.22 would take the fields of the status for given up with each write above.
        let parameters = PatchParams::apply(STATUS_MANAGER).force();
        let status = Patch::Apply(status);
        self.look(api.patch_status(name, &parameters, &status))
            .await?;
        Ok(())
    }

    /// Takes back what was said of a node that is no longer there.
    pub async fn unsay(&self, name: &str) -> Result<(), ClusterError> {
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &resource());
        match self.look(api.delete(name, &DeleteParams::default())).await {
            Err(ClusterError::Api(kube::Error::Api(status))) if status.code == 404 => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

fn named(object: Lenient<Value, HostTrustStatus>) -> Option<(String, HostTrustStatus)> {
    match object.whole() {
        Ok(object) => Some((object.metadata.name?, object.status.unwrap_or_default())),
        Err(ClusterError::Unreadable { name, .. }) => Some((name, HostTrustStatus::default())),
        Err(_) => None,
    }
}
