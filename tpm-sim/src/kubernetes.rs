//! A real control plane of Kubernetes without kubelets: etcd, API server, scheduler and controller-manager as processes
//! of one folder, with nodes that are only entries.
//!
//! The programs come from `KUBEBUILDER_ASSETS`, as Kubernetes developers have them; none is part of this project.
//! Everything ends with this process. Invariant: nothing here knows what an attestor decides.

mod api;
mod assets;
mod certificates;
mod control_plane;
mod error;
mod flags;
mod kubeconfig;
pub mod namespaces;
pub mod nodes;
pub mod pods;
mod program;
mod wait;
pub mod webhooks;

pub use api::{Api, Refusal};
pub use assets::{Assets, VARIABLE};
pub use control_plane::ControlPlane;
pub use error::Error;
pub use wait::until;

/// What every call here gives.
pub type Result<T> = std::result::Result<T, Error>;
