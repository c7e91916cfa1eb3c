//! The few messages of the Container Runtime Interface that a pod takes, with the fields that are set or looked at, by
//! the numbers of `api.proto`, package `runtime.v1` (kubernetes/cri-api, `pkg/apis/runtime/v1`).

use prost::{Enumeration, Message};

/// Paths of the calls.
pub(super) mod path {
    pub(in super::super) const PULL_IMAGE: &str = "/runtime.v1.ImageService/PullImage";
    pub(in super::super) const RUN_POD_SANDBOX: &str = "/runtime.v1.RuntimeService/RunPodSandbox";
    pub(in super::super) const CREATE_CONTAINER: &str =
        "/runtime.v1.RuntimeService/CreateContainer";
    pub(in super::super) const START_CONTAINER: &str = "/runtime.v1.RuntimeService/StartContainer";
    pub(in super::super) const CONTAINER_STATUS: &str =
        "/runtime.v1.RuntimeService/ContainerStatus";
}

/// A message whose field 1 is an id or a digest: `PullImageResponse`, `RunPodSandboxResponse`,
/// `CreateContainerResponse`, `StartContainerRequest`, `ContainerStatusRequest`; or that has no field.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Text {
    #[prost(string, tag = "1")]
    pub(super) text: String,
}

/// `PullImageRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PullImage {
    #[prost(message, optional, tag = "1")]
    pub(super) image: Option<Spec>,
}

/// `ImageSpec`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Spec {
    #[prost(string, tag = "1")]
    pub(super) image: String,
}

/// `RunPodSandboxRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RunPodSandbox {
    #[prost(message, optional, tag = "1")]
    pub(super) config: Option<SandboxConfig>,
}

/// `PodSandboxConfig`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<PodMetadata>,
    #[prost(string, tag = "3")]
    pub(super) log_directory: String,
    #[prost(message, optional, tag = "8")]
    pub(super) linux: Option<Linux>,
}

/// `PodSandboxMetadata`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PodMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

/// `LinuxPodSandboxConfig`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Linux {
    #[prost(message, optional, tag = "2")]
    pub(super) security: Option<Security>,
}

/// `LinuxSandboxSecurityContext`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Security {
    #[prost(message, optional, tag = "1")]
    pub(super) options: Option<Namespaces>,
}

/// `NamespaceOption`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Namespaces {
    #[prost(enumeration = "Mode", tag = "1")]
    pub(super) network: i32,
}

/// `NamespaceMode`, as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Mode {
    /// The pod has its own.
    Pod = 0,
    /// It has the host's.
    Node = 2,
}

/// `CreateContainerRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateContainer {
    #[prost(string, tag = "1")]
    pub(super) sandbox: String,
    #[prost(message, optional, tag = "2")]
    pub(super) config: Option<Config>,
    #[prost(message, optional, tag = "3")]
    pub(super) sandbox_config: Option<SandboxConfig>,
}

/// `ContainerConfig`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Config {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "2")]
    pub(super) image: Option<Spec>,
    #[prost(string, repeated, tag = "3")]
    pub(super) command: Vec<String>,
    #[prost(string, tag = "11")]
    pub(super) log_path: String,
}

/// `ContainerMetadata`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint32, tag = "2")]
    pub(super) attempt: u32,
}

/// `ContainerStatusResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<Status>,
}

/// `ContainerStatus`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(enumeration = "State", tag = "3")]
    pub(super) state: i32,
}

/// `ContainerState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum State {
    /// It was made, and not started.
    Created = 0,
    /// It runs.
    Running = 1,
    /// It has ended.
    Exited = 2,
    /// containerd does not know.
    Unknown = 3,
}
