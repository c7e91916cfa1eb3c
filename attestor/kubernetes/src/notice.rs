//! What `kubectl describe` says of a node or a pod: events (`core/v1`), one for each notice.
//!
//! Not by `kube::runtime::events`: it keeps what it wrote, says the first message of a reason again in place of the next
//! one, and must be let patch events.
//!
//! Invariant: a notice that could not be written says nothing of whether the API server is there. Clusters keep events
//! apart, and marks and evictions must not wait for them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::time::timeout;
use touchstone_evidence::digest::Sha256Digest;

use crate::cluster::{Cluster, ClusterError};
use crate::names::MANAGER;
use crate::node::Node;
use crate::pods::Pod;

/// Longest message, bytes: as API servers have it of events that are written as `events.k8s.io`.
const MESSAGE_MAX: usize = 1024;
/// How long one may take: nobody waits for it.
const LIMIT: Duration = Duration::from_secs(5);
/// Where API servers want the events of objects that are in no namespace.
const OF_NODES: &str = "default";

/// What is said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Said {
    /// What happened, in one word: `TouchstoneTrusted`.
    pub reason: &'static str,
    /// Why, and what next. Cut after 1 KiB.
    pub message: String,
    /// Whether somebody should look at it.
    pub warns: bool,
}

/// Something said of an object.
#[derive(Clone, Debug)]
pub struct Notice {
    about: ObjectReference,
    namespace: String,
    said: Said,
    /// Its name in the namespace: what says the same of the same object in the same second has the same.
    name: String,
    at: Timestamp,
}

impl Notice {
    /// `at`: seconds since 1970. `None`: the node has no name, or that is no time.
    #[must_use]
    pub fn of_node(node: &Node, said: Said, at: i64) -> Option<Self> {
        let name = node.metadata.name.clone()?;
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            // As kubelets have it: `kubectl describe node` looks for it under its name, newer ones under its uid as well.
            uid: Some(name.clone()),
            name: Some(name),
            ..ObjectReference::default()
        };
        Self::new(about, node.metadata.uid.as_deref(), OF_NODES, said, at)
    }

    /// The same of a pod, in its namespace.
    #[must_use]
    pub fn of_pod(pod: &Pod, said: Said, at: i64) -> Option<Self> {
        let namespace = pod.metadata.namespace.as_deref()?;
        let about = ObjectReference {
            kind: Some("Pod".to_owned()),
            uid: pod.metadata.uid.clone(),
            name: Some(pod.metadata.name.clone()?),
            namespace: Some(namespace.to_owned()),
            ..ObjectReference::default()
        };
        Self::new(about, pod.metadata.uid.as_deref(), namespace, said, at)
    }

    fn new(
        about: ObjectReference,
        uid: Option<&str>,
        namespace: &str,
        mut said: Said,
        at: i64,
    ) -> Option<Self> {
        said.message
            .truncate(said.message.floor_char_boundary(MESSAGE_MAX));
        let seconds = at.to_string();
        let whole = [uid?, said.reason, &said.message, &seconds].join("\n");
        let digest = Sha256Digest::of(whole.as_bytes()).to_string();
        Some(Self {
            about: ObjectReference {
                api_version: Some("v1".to_owned()),
                ..about
            },
            namespace: namespace.to_owned(),
            name: format!("{MANAGER}.{digest}"),
            said,
            at: Timestamp::from_second(at).ok()?,
        })
    }

    /// Of which namespace's object.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What it says.
    #[must_use]
    pub fn said(&self) -> &Said {
        &self.said
    }

    fn event(&self) -> Event {
        let kind = match self.said.warns {
            true => "Warning",
            false => "Normal",
        };
        Event {
            involved_object: self.about.clone(),
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            reason: Some(self.said.reason.to_owned()),
            message: Some(self.said.message.clone()),
            type_: Some(kind.to_owned()),
            source: Some(EventSource {
                component: Some(MANAGER.to_owned()),
                host: None,
            }),
            first_timestamp: Some(Time(self.at)),
            last_timestamp: Some(Time(self.at)),
            count: Some(1),
            ..Event::default()
        }
    }
}

impl Cluster {
    /// Writes a notice, in five seconds at most. One that is there already, or whose namespace ends, is no error.
    pub async fn notify(&self, notice: &Notice) -> Result<(), ClusterError> {
        let api = Api::<Event>::namespaced(self.client.clone(), &notice.namespace);
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let event = notice.event();
        let Ok(written) = timeout(LIMIT, api.create(&parameters, &event)).await else {
            return Err(ClusterError::Slow);
        };
        match written {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 || has_no_namespace(&status) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether nothing can be written there because the namespace is gone, or goes.
fn has_no_namespace(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut causes = causes.map(|cause| &*cause.reason);
    status.code == 404 || causes.any(|cause| cause == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use kube::core::Status;
    use serde_json::{Value, json};

    use super::*;

    fn said(message: &str) -> Said {
        Said {
            reason: "TouchstoneEnding",
            message: message.to_owned(),
            warns: true,
        }
    }

    fn pod(name: &str, uid: &str) -> Pod {
        let metadata = json!({ "name": name, "namespace": "shop", "uid": uid });
        serde_json::from_value(json!({ "metadata": metadata, "spec": {} })).unwrap()
    }

    fn event(notice: &Notice) -> Value {
        serde_json::to_value(notice.event()).unwrap()
    }

    #[test]
    fn an_event_of_a_pod_is_in_its_namespace_and_names_that_pod() {
        let notice = Notice::of_pod(&pod("api", "u"), said("why"), 100).unwrap();
        let event = event(&notice);
        let about = json!({ "apiVersion": "v1", "kind": "Pod", "name": "api", "namespace": "shop", "uid": "u" });
        assert_eq!(event["involvedObject"], about);
        assert_eq!(event["metadata"]["namespace"], "shop");
        assert_eq!(event["lastTimestamp"], "1970-01-01T00:01:40Z");
        assert_eq!(
            (&event["type"], &event["source"]["component"]),
            (&json!("Warning"), &json!("touchstone"))
        );
    }

    #[test]
    fn an_event_of_a_node_is_where_kubectl_looks_for_it() {
        let node = json!({ "metadata": { "name": "worker-1", "uid": "u" }, "spec": {} });
        let node = serde_json::from_value(node).unwrap();
        let notice = Notice::of_node(&node, said("why"), 100).unwrap();
        let event = event(&notice);
        let about =
            json!({ "apiVersion": "v1", "kind": "Node", "name": "worker-1", "uid": "worker-1" });
        assert_eq!(event["involvedObject"], about);
        assert_eq!(event["metadata"]["namespace"], "default");
    }

    #[test]
    fn names_and_messages_are_bounded_whatever_objects_are_called() {
        let longest = pod(&"a".repeat(253), "u");
        let notice = Notice::of_pod(&longest, said(&"ä".repeat(MESSAGE_MAX)), 100).unwrap();
        assert_eq!(notice.name.len(), "touchstone.".len() + 64);
        let message = event(&notice)["message"].as_str().unwrap().len();
        assert_eq!(message, MESSAGE_MAX);
        // One of each object, each second and each message.
        let name = |uid, message, at| Notice::of_pod(&pod("api", uid), said(message), at);
        let name = |uid, message, at| name(uid, message, at).unwrap().name;
        let first = name("u", "why", 100);
        assert_eq!(first, name("u", "why", 100));
        for other in [
            name("v", "why", 100),
            name("u", "other", 100),
            name("u", "why", 101),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_namespace_that_ends_is_told_from_a_right_that_is_missing() {
        let refused = |code: u16, cause: &str| -> Status {
            let details = json!({ "causes": [{ "reason": cause }] });
            serde_json::from_value(json!({ "code": code, "details": details })).unwrap()
        };
        assert!(has_no_namespace(&refused(403, "NamespaceTerminating")));
        assert!(has_no_namespace(&refused(404, "")));
        assert!(!has_no_namespace(&refused(403, "")));
    }
}
