//! The few messages of containerd's API that a purge takes (containerd `api/services`, version 1 of each), with the
//! fields that are looked at; others are skipped while reading.

use std::collections::HashMap;

use prost::Message;

/// Paths of the calls.
pub(super) mod path {
    pub(in super::super) const NAMESPACES: &str =
        "/containerd.services.namespaces.v1.Namespaces/List";
    pub(in super::super) const IMAGES: &str = "/containerd.services.images.v1.Images/List";
    pub(in super::super) const DELETE_IMAGE: &str = "/containerd.services.images.v1.Images/Delete";
    pub(in super::super) const BLOBS: &str = "/containerd.services.content.v1.Content/List";
    pub(in super::super) const READ_BLOB: &str = "/containerd.services.content.v1.Content/Read";
    pub(in super::super) const CONTAINERS: &str =
        "/containerd.services.containers.v1.Containers/List";
    pub(in super::super) const DELETE_CONTAINER: &str =
        "/containerd.services.containers.v1.Containers/Delete";
    pub(in super::super) const KILL_TASK: &str = "/containerd.services.tasks.v1.Tasks/Kill";
    pub(in super::super) const WAIT_TASK: &str = "/containerd.services.tasks.v1.Tasks/Wait";
    pub(in super::super) const DELETE_TASK: &str = "/containerd.services.tasks.v1.Tasks/Delete";
    pub(in super::super) const SNAPSHOTS: &str = "/containerd.services.snapshots.v1.Snapshots/List";
    pub(in super::super) const REMOVE_SNAPSHOT: &str =
        "/containerd.services.snapshots.v1.Snapshots/Remove";
    pub(in super::super) const LEASES: &str = "/containerd.services.leases.v1.Leases/List";
    pub(in super::super) const LEASED: &str = "/containerd.services.leases.v1.Leases/ListResources";
    pub(in super::super) const DELETE_LEASE: &str = "/containerd.services.leases.v1.Leases/Delete";
    pub(in super::super) const PLUGINS: &str =
        "/containerd.services.introspection.v1.Introspection/Plugins";
}

/// A request or an answer without fields that matter.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

/// Every list call takes filters in field 1; what is listed is in field 1 of the answer.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Filtered {
    #[prost(string, repeated, tag = "1")]
    pub(super) filters: Vec<String>,
}

/// A thing that is named by its first field.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Named {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

/// A list of such things.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedList {
    #[prost(message, repeated, tag = "1")]
    pub(super) items: Vec<Named>,
}

/// `images.v1.Image`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "3")]
    pub(super) target: Option<Descriptor>,
}

/// `types.Descriptor`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = "2")]
    pub(super) digest: String,
}

/// `images.v1.ListImagesResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ImageList {
    #[prost(message, repeated, tag = "1")]
    pub(super) images: Vec<Image>,
}

/// A deletion that ends when what the thing kept is gone too: of a name in `images.v1`, of an id in `leases.v1`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Delete {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bool, tag = "2")]
    pub(super) sync: bool,
}

/// `content.v1.Info`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Blob {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(int64, tag = "2")]
    pub(super) size: i64,
    #[prost(map = "string, string", tag = "5")]
    pub(super) labels: HashMap<String, String>,
}

/// `content.v1.ListContentResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BlobList {
    #[prost(message, repeated, tag = "1")]
    pub(super) blobs: Vec<Blob>,
}

/// `content.v1.ReadContentResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Chunk {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) data: Vec<u8>,
}

/// `containers.v1.Container`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "3")]
    pub(super) image: String,
    #[prost(string, tag = "6")]
    pub(super) snapshotter: String,
    #[prost(string, tag = "7")]
    pub(super) snapshot_key: String,
}

/// `containers.v1.ListContainersResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerList {
    #[prost(message, repeated, tag = "1")]
    pub(super) containers: Vec<Container>,
}

/// `tasks.v1.KillRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Kill {
    #[prost(string, tag = "1")]
    pub(super) container: String,
    #[prost(uint32, tag = "3")]
    pub(super) signal: u32,
    #[prost(bool, tag = "4")]
    pub(super) all: bool,
}

/// `snapshots.v1.Info`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Snapshot {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) parent: String,
}

/// `snapshots.v1.ListSnapshotsResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SnapshotList {
    #[prost(message, repeated, tag = "1")]
    pub(super) snapshots: Vec<Snapshot>,
}

/// `snapshots.v1.RemoveSnapshotRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RemoveSnapshot {
    #[prost(string, tag = "1")]
    pub(super) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(super) key: String,
}

/// `introspection.v1.Plugin`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Plugin {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) id: String,
    #[prost(message, optional, tag = "7")]
    pub(super) failure: Option<Empty>,
}

/// `introspection.v1.PluginsResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PluginList {
    #[prost(message, repeated, tag = "1")]
    pub(super) plugins: Vec<Plugin>,
}
