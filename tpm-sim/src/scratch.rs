//! Temporary folders for everything that a run needs, which nobody else may enter.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use tempfile::TempDir;

/// A new one, whose name begins so.
pub(crate) fn make(prefix: &str) -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .context("cannot make a temporary folder")
}

/// Says that one is left, for there is something to look up in it.
pub(crate) fn tell_where(folder: &Path) {
    eprintln!(
        "tpm-sim: logs and state are left in `{}`; remove it when you have seen enough",
        folder.display()
    );
}
