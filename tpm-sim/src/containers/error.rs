//! What goes wrong before a container tool runs, and what to do about it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a tool cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tool is not there.
    #[error("`{0}` is missing; run `make deps-encrypted`")]
    Missing(String),

    /// A file of a tool's settings, or one of its own.
    #[error("cannot use `{}`", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// podman's list of layers is of another form.
    #[error("`{}` is no list of layers as podman writes it", path.display())]
    Layers {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },

    /// A program failed that makes an image, or tries a right.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// What it said.
        said: String,
    },
}

impl Error {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }
}

/// Writes a file, and makes the folders above it.
pub(super) fn write(path: &Path, content: impl AsRef<[u8]>) -> super::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, content))
        .map_err(Error::file(path))
}
