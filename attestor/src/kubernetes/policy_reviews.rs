//! Reviews of policy manifests that are objects of the cluster: what does not read is not taken. Whether it would take
//! too many hosts away, no review waits for: that judges the whole fleet.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::objects;
use touchstone_policies::manifest::PolicySet;

use super::review::{Request, Response};
use crate::policy;
use crate::store::StoreError;

/// Said where manifests are put into a cluster that nobody reads them from.
const NOT_FROM_HERE: &str = "touchstone: this attestor takes its policies from `touchstone policy apply` alone; with \
                             `policies = \"objects\"` in its Kubernetes settings it takes them from the cluster";

/// A manifest.
#[derive(Deserialize)]
struct Manifest {
    kind: String,
    metadata: Named,
    #[serde(default)]
    spec: Value,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

/// Whether a review is about a policy manifest.
pub(super) fn asks_about_policies(request: &Request) -> bool {
    request.resource.group == "touchstone.dev" && objects::is_policy(&request.resource.resource)
}

/// Answers it: all manifests of the cluster are read as they would be then.
pub(super) async fn answer(
    cluster: Option<&Cluster>,
    in_force: Arc<PolicySet>,
    request: &Request,
) -> Result<Response, StoreError> {
    // Whoever leaves must be able to clear away.
    let leaves = request.operation == "DELETE";
    let Some(objects) = cluster.and_then(Cluster::policies) else {
        return Ok(match leaves {
            true => Response::allowed(request, None),
            false => Response::refused(request, NOT_FROM_HERE, None),
        });
    };
    if !objects.is_listed() {
        let why = "touchstone: the manifests of this cluster were not all seen yet; try again";
        return Ok(Response::refused(request, why, None));
    }
    let manifest = match leaves {
        true => request.old_object::<Manifest>(),
        false => request.object::<Manifest>().map(Some),
    };
    let Ok(Some(manifest)) = manifest else {
        let why = "touchstone: the manifest cannot be read";
        return Ok(Response::refused(request, why, None));
    };
    let spec = (!leaves).then_some(&manifest.spec);
    let then = objects.manifests_with(Some((&manifest.kind, &manifest.metadata.name, spec)));
    // The last one: then those in force stay.
    if then.is_empty() {
        return Ok(Response::allowed(request, None));
    }
    Ok(match policy::parse_new(then, in_force).await? {
        Ok(_) => {
            if !request.dry_run {
                let (kind, name) = (manifest.kind, manifest.metadata.name);
                let by = request.username();
                tracing::info!(kind, name, by, "a policy object may be written");
            }
            Response::allowed(request, None)
        }
        Err(error) => Response::refused(request, &format!("touchstone: {error}"), None),
    })
}
