//! Real container tools, each with folders of its own: what a registry, skopeo and podman are told, and an image for
//! them. What they do around a key provider is written down in docs/encrypted.md. Nothing here reaches a network.
//! Invariant: commands are made here and started by nobody here; who starts one says what becomes of its output.

mod error;
pub mod image;
pub mod keys;
pub mod podman;
pub mod registry;
pub mod rights;
pub mod skopeo;
pub mod tool;

pub use error::Error;

/// What every call here gives.
pub type Result<T> = std::result::Result<T, Error>;
