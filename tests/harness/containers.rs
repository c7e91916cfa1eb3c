//! Real container tools, each with folders of its own: a registry, skopeo, podman, containerd with imgcrypt.
//! What they do around a key provider is written down in docs/encrypted.md. Nothing here reaches a network.
//! Invariant: no test is skipped for a tool that is missing; [`rights::allow_containers`] names the only reason.

pub mod containerd;
pub mod cri;
pub mod image;
pub mod keys;
pub mod mounts;
pub mod podman;
pub mod registry;
pub mod rights;
pub mod skopeo;
pub mod tool;
