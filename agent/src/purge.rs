//! Images that were decrypted once run again without a question: this takes them off the disk, out of the runtimes
//! that the settings name, and looks again until nothing is left of them.
//!
//! Not undone: what somebody with root's rights copied elsewhere. Invariant: a runtime that is not named is not touched.

mod containerd;
pub(crate) mod guard;
mod left;
mod manifest;
mod podman;
mod report;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use touchstone_evidence::oci_digest::OciDigest;
use touchstone_evidence::wire::{ContainerRuntime, RevokedLease};

use left::Left;
pub use report::tell;

/// What is to be purged when the verdict turns. By default nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtimes {
    /// containerd.
    pub containerd: Option<Containerd>,
    /// podman, with which CRI-O shares its storage.
    pub podman: Option<Podman>,
}

/// A containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containerd {
    /// Where it serves its API.
    pub socket: PathBuf,
    /// Its namespaces; empty: whichever it has.
    pub namespaces: Vec<String>,
}

/// A podman.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Podman {
    /// The program.
    pub program: PathBuf,
    /// Where images and containers are.
    pub root: PathBuf,
    /// Where it keeps what a boot does not outlive.
    pub runroot: PathBuf,
}

impl Podman {
    /// Default of [`Podman::program`].
    pub const PROGRAM: &str = "/usr/bin/podman";
    /// Default of [`Podman::runroot`].
    pub const RUNROOT: &str = "/run/containers/storage";
}

impl Runtimes {
    /// Whether none is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.containerd.is_none() && self.podman.is_none()
    }
}

/// Which images are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those with a layer that Touchstone's key provider wraps.
    All,
    /// Those with a layer that one of these leases opened.
    Leases(BTreeSet<RevokedLease>),
}

/// What was found in one place, and whether it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Which runtime.
    pub runtime: ContainerRuntime,
    /// A namespace of containerd, or podman's root.
    pub place: String,
    /// Manifests of the images.
    pub digests: Vec<OciDigest>,
    /// What they are called.
    pub names: Vec<String>,
    /// What was seen to be there still, at the end.
    pub left: Vec<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// Revoked leases of which nothing is left in any place: told with the last place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<RevokedLease>,
}

impl Purged {
    fn new(runtime: ContainerRuntime, place: impl Into<String>) -> Self {
        Self {
            runtime,
            place: place.into(),
            digests: Vec::new(),
            names: Vec::new(),
            left: Vec::new(),
            error: None,
            leases: Vec::new(),
        }
    }

    fn failed(self, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self {
            error: Some(text),
            ..self
        }
    }

    /// Nothing is left, and nothing went wrong.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left.is_empty() && self.error.is_none()
    }

    /// There was nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.digests.is_empty() && self.leases.is_empty() && self.is_complete()
    }
}

/// What is done with what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It goes.
    Purge,
    /// It stays, and is shown.
    DryRun,
}

/// Purges images, and what runs of them. A runtime that fails does not keep the others from it.
pub async fn purge(runtimes: &Runtimes, which: &Which, mode: Mode) -> Vec<Purged> {
    purge_again(runtimes, which, mode, &Left::default()).await
}

/// The same, which names as left what an earlier purge left, too, if it is still there.
async fn purge_again(runtimes: &Runtimes, which: &Which, mode: Mode, left: &Left) -> Vec<Purged> {
    let mut all = Vec::new();
    if let Some(containerd) = &runtimes.containerd {
        all.extend(containerd::purge(containerd, which, mode, left).await);
    }
    if let Some(podman) = &runtimes.podman {
        all.push(podman::purge(podman, which, mode, left).await);
    }
    all
}
