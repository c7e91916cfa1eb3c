//! Objects of the cluster, read as far as they can be: one that is written otherwise than is known here must not keep all
//! others from being seen.
//!
//! Of the metadata only what is looked at is read. The rest is up to 256 KiB of each object, at the choice of whoever
//! makes it, and times of field managers that API servers take and other readers do not.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{ApiResource, Object, TypeMeta};
use kube::core::DynamicResourceScope;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::cluster::ClusterError;

/// What is looked at in the metadata of any object.
const METADATA: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
];

/// An object, as far as it could be read.
#[derive(Clone, Debug)]
pub(crate) struct Lenient<P: Clone, U: Clone> {
    object: Object<P, U>,
    /// What could not, and why. An object without a status reported nothing yet; of one whose status cannot be read nobody
    /// knows what it reported.
    unread: Option<String>,
}

impl<P: Clone, U: Clone> Lenient<P, U> {
    /// The whole object.
    ///
    /// # Errors
    /// [`ClusterError::Unreadable`], by its name.
    pub(crate) fn whole(self) -> Result<Object<P, U>, ClusterError> {
        match self.unread {
            None => Ok(self.object),
            Some(why) => Err(ClusterError::Unreadable {
                name: self.object.metadata.name.unwrap_or_default(),
                why,
            }),
        }
    }

    /// What a watch is to show of an event: an object that cannot be read is none that anything may be decided by.
    pub(crate) fn shown(event: Event<Self>) -> Option<Event<Object<P, U>>> {
        match event {
            Event::Apply(one) if one.complains() => Some(Event::Delete(one.object)),
            Event::Apply(one) => Some(Event::Apply(one.object)),
            Event::Delete(one) => Some(Event::Delete(one.object)),
            Event::Init => Some(Event::Init),
            Event::InitApply(one) if one.complains() => None,
            Event::InitApply(one) => Some(Event::InitApply(one.object)),
            Event::InitDone => Some(Event::InitDone),
        }
    }

    /// Whether something is unread; it is logged by the name of the object.
    fn complains(&self) -> bool {
        let Some(why) = &self.unread else {
            return false;
        };
        let metadata = &self.object.metadata;
        tracing::error!(
            k8s.kind = self.object.types.as_ref().map(|types| types.kind.as_str()),
            k8s.namespace = metadata.namespace,
            k8s.name = metadata.name,
            "an object of the cluster cannot be read, and is passed over: {why}"
        );
        true
    }
}

impl<'de, P, U> Deserialize<'de> for Lenient<P, U>
where
    P: Clone + Default + DeserializeOwned,
    U: Clone + DeserializeOwned,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut sent = Value::deserialize(deserializer)?;
        let mut take = |field: &str| sent.get_mut(field).map(Value::take).unwrap_or_default();
        let (metadata, mut unread) = metadata(&take("metadata"));
        let status = Option::<U>::deserialize(take("status")).unwrap_or_else(|error| {
            unread.get_or_insert(format!("`status`: {error}"));
            None
        });
        let spec = P::deserialize(take("spec")).unwrap_or_else(|error| {
            unread.get_or_insert(format!("`spec`: {error}"));
            P::default()
        });
        let object = Object {
            types: TypeMeta::deserialize(sent).ok(),
            metadata,
            spec,
            status,
        };
        Ok(Self { object, unread })
    }
}

/// What is looked at, and the first of it that cannot be read.
fn metadata(sent: &Value) -> (ObjectMeta, Option<String>) {
    let mut good = Map::new();
    let mut unread = None;
    for field in METADATA {
        let Some(value) = sent.get(field) else {
            continue;
        };
        let value = looked_at(field, value);
        let alone = Map::from_iter([(field.to_owned(), value.clone())]);
        match ObjectMeta::deserialize(Value::Object(alone)) {
            Ok(_) => drop(good.insert(field.to_owned(), value)),
            Err(error) => {
                unread.get_or_insert(format!("`metadata.{field}`: {error}"));
            }
        }
    }
    let good = ObjectMeta::deserialize(Value::Object(good));
    (good.unwrap_or_default(), unread)
}

/// Of the owners, the controller: an object has one at most.
fn looked_at(field: &str, value: &Value) -> Value {
    match value {
        Value::Array(owners) if field == "ownerReferences" => {
            let controllers = owners.iter().filter(|owner| owner["controller"] == true);
            controllers.cloned().collect()
        }
        _ => value.clone(),
    }
}

impl<P: Clone, U: Clone> Resource for Lenient<P, U> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        Object::<P, U>::group(resource)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        Object::<P, U>::version(resource)
    }

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        Object::<P, U>::kind(resource)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        Object::<P, U>::plural(resource)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.object.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.object.metadata
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use kube::core::ObjectList;
    use serde_json::json;

    use super::*;
    use crate::pod::PodSpec;
    use crate::pods::PodStatus;

    type Read = Lenient<PodSpec, PodStatus>;

    fn read(change: impl FnOnce(&mut Value)) -> Read {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "a", "namespace": "n", "uid": "u", "labels": { "app": "x" } },
            "spec": { "nodeName": "node-1", "containers": [{ "name": "c", "image": "i" }] },
            "status": { "phase": "Running" },
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn what_nobody_looks_at_may_be_written_in_any_way() {
        // An API server takes the last second of the year 9999, which is none of ours.
        let fields =
            json!([{ "manager": "m", "operation": "Update", "time": "9999-12-31T23:59:59Z" }]);
        for (field, value) in [
            ("managedFields", fields),
            ("annotations", json!({ "a": 7 })),
            ("ownerReferences", json!([{ "name": 7 }])),
        ] {
            let pod = read(|pod| pod["metadata"][field] = value).whole().unwrap();
            assert_eq!(pod.metadata.labels.unwrap()["app"], "x", "{field}");
            assert_eq!(pod.metadata.managed_fields, None);
            assert_eq!(pod.status.unwrap().phase, "Running");
        }
        for status in [
            json!(null),
            json!({}),
            json!({ "containerStatuses": null, "initContainerStatuses": null, "ephemeralContainerStatuses": null }),
        ] {
            let pod = read(|pod| pod["status"] = status);
            assert_eq!(pod.whole().unwrap().spec.node_name.unwrap(), "node-1");
        }
    }

    #[test]
    fn one_that_cannot_be_read_is_passed_over_by_its_name_and_the_others_are_seen() {
        let wrong: [fn(&mut Value); 6] = [
            |pod| pod["spec"]["containers"] = json!({}),
            |pod| pod["spec"]["nodeName"] = json!(["a"]),
            |pod| pod["metadata"]["labels"] = json!({ "app": 1 }),
            |pod| pod["spec"] = json!(null),
            |pod| pod["status"] = json!("Running"),
            |pod| pod["status"]["containerStatuses"] = json!([{ "imageID": 7 }]),
        ];
        for wrong in wrong {
            assert!(Lenient::shown(Event::InitApply(read(wrong))).is_none());
            // What it was before is not what it is.
            let shown = Lenient::shown(Event::Apply(read(wrong)));
            assert!(
                matches!(shown, Some(Event::Delete(pod)) if pod.metadata.uid.as_deref() == Some("u"))
            );
            let refused = read(wrong).whole().unwrap_err();
            assert!(
                refused.to_string().starts_with("`a` is not written"),
                "{refused}"
            );
        }
        let list = json!({
            "apiVersion": "v1", "kind": "PodList", "metadata": {},
            "items": [
                { "metadata": { "name": "a" }, "spec": { "containers": 7 } },
                { "metadata": { "name": "b" }, "spec": {} },
            ],
        });
        let list: ObjectList<Read> = serde_json::from_value(list).unwrap();
        let shown = list
            .items
            .into_iter()
            .filter_map(|pod| Lenient::shown(Event::InitApply(pod)));
        assert_eq!(shown.count(), 1);
    }
}
