//! Policy manifests as objects of the cluster: the four kinds of `touchstone.dev/v1`, watched, with their status.
//!
//! What they mean is not known here: they are put together as the manifests that an officer would write.

use std::sync::Arc;

use futures_util::FutureExt as _;
use kube::Client;
use kube::api::{Api, ApiResource, GroupVersionKind, Object, Patch, PatchParams};
use kube::runtime::reflector::Store;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::cluster::{Cluster, ClusterError};
use crate::names::MANAGER;
use crate::reach::Reach;
use crate::watched::watched;

/// A manifest.
pub type PolicyObject = Object<Value, Value>;

/// The kinds, each with the plural that it has in paths.
const KINDS: [(&str, &str); 4] = [
    ("HostPolicy", "hostpolicies"),
    ("ReferenceValues", "referencevalues"),
    ("Region", "regions"),
    ("WorkloadPolicy", "workloadpolicies"),
];

/// All manifests that the cluster holds.
pub struct PolicyObjects {
    kinds: Vec<(ApiResource, Store<PolicyObject>)>,
}

/// `.status` of a manifest.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// `InForce`, `Refused`, `Busy` until other changes of policies are through, or `Ignored` where policies are not taken
    /// from the cluster.
    pub effect: String,
    /// The version that all manifests of the cluster make up together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Its digest, which every verdict names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The generation of the object that this was said of.
    pub observed_generation: i64,
}

/// Whether `resource` of the group `touchstone.dev` is a kind of manifests.
#[must_use]
pub fn is_policy(resource: &str) -> bool {
    KINDS.iter().any(|(_, plural)| *plural == resource)
}

impl PolicyObjects {
    /// Begins to watch.
    pub(crate) fn watch(
        client: &Client,
        reach: &Arc<Reach>,
        watches: &mut Vec<AbortHandle>,
    ) -> Self {
        let kinds = KINDS.map(|(kind, plural)| {
            let kind = GroupVersionKind::gvk("touchstone.dev", "v1", kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            let store = watched(client, reach, &resource, watches);
            (resource, store)
        });
        Self {
            kinds: kinds.into(),
        }
    }

    /// Whether all kinds were listed. Before, some manifests are missing.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        let mut stores = self.kinds.iter().map(|(_, store)| store);
        stores.all(|store| matches!(store.wait_until_ready().now_or_never(), Some(Ok(()))))
    }

    /// All of them, in one order.
    fn all(&self) -> Vec<(&ApiResource, Arc<PolicyObject>)> {
        let mut all: Vec<_> = self
            .kinds
            .iter()
            .flat_map(|(resource, store)| store.state().into_iter().map(move |o| (resource, o)))
            .collect();
        all.sort_by(|(a, one), (b, other)| {
            (&a.kind, &one.metadata.name).cmp(&(&b.kind, &other.metadata.name))
        });
        all
    }

    /// Uid and version of each: while these are the same, so is what [`Self::manifests`] is.
    #[must_use]
    pub fn versions(&self) -> Vec<(Option<String>, Option<String>)> {
        let all = self.all().into_iter();
        let version = |(_, object): (&ApiResource, Arc<PolicyObject>)| {
            let metadata = &object.metadata;
            (metadata.uid.clone(), metadata.resource_version.clone())
        };
        all.map(version).collect()
    }

    /// The stream of manifests that they make up; empty where there are none.
    #[must_use]
    pub fn manifests(&self) -> String {
        self.manifests_with(None)
    }

    /// The same, as it would be with one of them changed: `Some(spec)` puts it there, `None` takes it away.
    #[must_use]
    pub fn manifests_with(&self, change: Option<(&str, &str, Option<&Value>)>) -> String {
        let mut documents = Vec::new();
        // First, so that lines of an error are lines of this one.
        if let Some((kind, name, Some(spec))) = change {
            documents.push(document(kind, name, spec));
        }
        for (resource, object) in self.all() {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let changes =
                change.is_some_and(|(kind, other, _)| kind == resource.kind && other == name);
            if !changes {
                documents.push(document(&resource.kind, name, &object.spec));
            }
        }
        documents.concat()
    }

    /// Says of each manifest what came of it, where that is not what is said already.
    pub async fn say(
        &self,
        cluster: &Cluster,
        status: impl Fn(i64) -> PolicyStatus,
    ) -> Result<(), ClusterError> {
        for (resource, object) in self.all() {
            let status = status(object.metadata.generation.unwrap_or(0));
            let said = serde_json::to_value(&status).unwrap_or_default();
            let (Some(name), true) = (&object.metadata.name, object.status.as_ref() != Some(&said))
            else {
                continue;
            };
            let api = Api::<PolicyObject>::all_with(cluster.client.clone(), resource);
            let parameters = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(json!({ "status": said }));
            let written = cluster.look(api.patch_status(name, &parameters, &patch));
            match written.await {
                // It went meanwhile.
                Err(ClusterError::Api(kube::Error::Api(status))) if status.code == 404 => {}
                written => drop(written?),
            }
        }
        Ok(())
    }
}

/// One document of a stream of manifests. JSON is YAML.
#[must_use]
pub fn document(kind: &str, name: &str, spec: &Value) -> String {
    let manifest = json!({
        "apiVersion": "touchstone.dev/v1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    });
    format!("---\n{manifest:#}\n")
}
