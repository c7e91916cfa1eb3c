//! What goes wrong with a control plane, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::api::Refusal;

/// Why there is no control plane, or no answer of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody said where its programs are.
    #[error(
        "`KUBEBUILDER_ASSETS` is not set; name the folder that `setup-envtest use -p path` prints, with kube-scheduler and \
         kube-controller-manager of the same version (https://dl.k8s.io/VERSION/bin/linux/amd64/) beside them"
    )]
    NoAssets,

    /// A program is not there.
    #[error(
        "`{program}` is neither in `KUBEBUILDER_ASSETS` (`{}`) nor in `PATH`; get it from \
         https://dl.k8s.io/VERSION/bin/linux/amd64/, etcd from your distribution (package etcd-server)",
        folder.display()
    )]
    Missing {
        /// Its name.
        program: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
    },

    /// An API server of a version that does not read.
    #[error(
        "`kube-apiserver --version` says `{said}`, not `Kubernetes VERSION`; take one from https://dl.k8s.io"
    )]
    Version {
        /// What it said.
        said: String,
    },

    /// A file of the control plane.
    #[error("cannot use `{}`", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// No port is free.
    #[error("no port of 127.0.0.1 is free")]
    Ports(#[source] io::Error),

    /// A program does not start.
    #[error("cannot run `{program}`")]
    Run {
        /// Its name.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },

    /// A program ended by itself.
    #[error("`{program}` has ended; its last words: {said}")]
    Ended {
        /// Its name.
        program: &'static str,
        /// The end of its log.
        said: String,
    },

    /// Something that was waited for did not come.
    #[error("not after {patience:?}: {what}")]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        patience: Duration,
    },

    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Certificate(#[from] rcgen::Error),

    /// The API server does not answer as one.
    #[error("the API server does not answer")]
    Http(#[from] reqwest::Error),

    /// The API server refused.
    #[error(transparent)]
    Refused(#[from] Refusal),

    /// Our webhook configurations are not as they should be.
    #[error("deploy/kubernetes/webhooks.yaml: {0}")]
    Manifest(String),
}

impl Error {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }

    /// What the API server refused, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}
