//! Reviews of policy manifests that are objects of the cluster: what does not read is not taken. Whether it would take
//! too many hosts away, no review waits for: that judges the whole fleet.

use serde::Deserialize;
use serde_json::Value;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::cluster::Cluster;
use touchstone_kubernetes::cluster_name::ClusterName;
use touchstone_kubernetes::objects;

use super::review::{Request, Response};
use crate::appraisal::RoundError;
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::policy;

/// Said where manifests are put into a cluster that nobody reads them from.
const NOT_FROM_HERE: &str = "this attestor takes its policies from `touchstone policy apply` alone; with \
                             `policies = \"objects\"` in its Kubernetes settings it takes them from the cluster";

/// Longest name of a user that is written down, characters.
const USER_MAX: usize = 256;

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

/// What becomes of a manifest.
struct Change {
    kind: String,
    name: String,
    /// `None`: it is taken away.
    spec: Option<Value>,
    /// Whether it is another than before.
    is_one: bool,
}

impl Change {
    fn read(request: &Request) -> Option<Self> {
        let before: Option<Manifest> = request.old_object().ok()?;
        let after: Option<Manifest> = match request.operation.as_str() {
            "DELETE" => None,
            _ => Some(request.object().ok()?),
        };
        let is_one = before.as_ref().map(|it| &it.spec) != after.as_ref().map(|it| &it.spec);
        let spec = after.as_ref().map(|it| it.spec.clone());
        let Manifest { kind, metadata, .. } = after.or(before)?;
        Some(Self {
            kind,
            name: metadata.name,
            spec,
            is_one,
        })
    }

    /// Who writes it, as the API server says: `managedFields` of an object hold whatever the writer called itself.
    fn event(self, cluster: &ClusterName, request: &Request) -> Event {
        let Self {
            kind, name, spec, ..
        } = self;
        let manifest = spec.map(|spec| objects::document(&kind, &name, &spec));
        Event::PolicyObjectWritten {
            cluster: cluster.clone(),
            object: format!("{kind}/{name}"),
            operation: request.operation.clone(),
            user: request.username().chars().take(USER_MAX).collect(),
            manifest: manifest.map(|text| Sha256Digest::of(text.as_bytes())),
        }
    }
}

/// Whether a review is about a policy manifest.
pub(super) fn asks_about_policies(request: &Request) -> bool {
    request.resource.group == "touchstone.dev" && objects::is_policy(&request.resource.resource)
}

/// Answers it: all manifests of the cluster are read as they would be then. A change that is let through is an entry.
pub(super) async fn answer(
    attestor: &Attestor,
    cluster: Option<&Cluster>,
    request: &Request,
    caller: &Actor,
) -> Result<Response, RoundError> {
    let refused = |why: &str| {
        Ok(Response::refused(
            request,
            &format!("touchstone: {why}"),
            None,
        ))
    };
    let Some(objects) = cluster.and_then(Cluster::policies) else {
        // Whoever leaves must be able to clear away.
        return match request.operation.as_str() {
            "DELETE" => Ok(Response::allowed(request, None)),
            _ => refused(NOT_FROM_HERE),
        };
    };
    if !objects.is_listed() {
        return refused("the manifests of this cluster were not all seen yet; try again");
    }
    let Some(change) = Change::read(request) else {
        return refused("the manifest cannot be read");
    };
    let then = objects.manifests_with(Some((&change.kind, &change.name, change.spec.as_ref())));
    // Nothing at all: then those in force stay.
    if !then.is_empty()
        && let Err(error) = policy::parse_new(then, attestor.index.policies()).await?
    {
        return refused(&error.to_string());
    }
    if request.dry_run || !change.is_one {
        return Ok(Response::allowed(request, None));
    }
    let entry = Entry::new(
        &change.event(&attestor.cluster, request),
        caller,
        clock::now(),
    )?;
    let leaf = entry.leaf();
    attestor.commits.entry(entry).await?;
    Ok(Response::allowed(request, Some(leaf)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use serde_json::json;

    use super::*;

    fn request(operation: &str, user: &str, before: &Value, after: &Value) -> Request {
        let manifest = |spec: &Value| match spec {
            Value::Null => Value::Null,
            spec => json!({ "kind": "Region", "metadata": { "name": "alps" }, "spec": spec }),
        };
        serde_json::from_value(json!({
            "uid": "1",
            "resource": { "group": "touchstone.dev", "resource": "regions" },
            "operation": operation,
            "object": manifest(after),
            "oldObject": manifest(before),
            "userInfo": { "username": user },
        }))
        .unwrap()
    }

    #[test]
    fn an_entry_names_who_changes_a_manifest_and_what_it_becomes() {
        let (nothing, one, other) = (
            Value::Null,
            json!({ "version": 1 }),
            json!({ "version": 2 }),
        );
        let change = |operation: &str, before: &Value, after: &Value| {
            Change::read(&request(operation, "anna", before, after)).unwrap()
        };
        assert!(change("CREATE", &nothing, &one).is_one);
        assert!(change("UPDATE", &one, &other).is_one);
        assert!(!change("UPDATE", &one, &one).is_one);
        assert!(change("DELETE", &one, &nothing).is_one);
        assert!(Change::read(&request("DELETE", "anna", &nothing, &nothing)).is_none());
        assert!(Change::read(&request("CREATE", "anna", &one, &nothing)).is_none());
        let long = "a".repeat(USER_MAX + 1);
        let review = request("UPDATE", &long, &one, &other);
        let event = Change::read(&review).unwrap();
        let event = event.event(&ClusterName::default(), &review);
        let event = serde_json::to_value(event).unwrap();
        assert_eq!(event["user"], long[..USER_MAX]);
        assert_eq!(event["object"], "Region/alps");
        let text = objects::document("Region", "alps", &other);
        let digest = Sha256Digest::of(text.as_bytes());
        assert_eq!(event["manifest"], digest.to_string());
        let event = change("DELETE", &one, &nothing).event(&ClusterName::default(), &review);
        assert_eq!(serde_json::to_value(event).unwrap()["manifest"], nothing);
    }
}
