//! The file of a join token: whoever reads it can enrol a machine, so nobody but its owner may.

use std::path::{Path, PathBuf};

use touchstone_evidence::wire::{JoinToken, NotAJoinToken};

use crate::private_file;

/// Why a file gives no join token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error(
        "cannot read the join token `{0}`, which is not there; an operator makes one with `touchstone join-token create`"
    )]
    Absent(PathBuf),
    /// Somebody else may read or write it.
    #[error(
        "others may use the join token `{path}` (mode {mode:04o}); `chmod 600` it, or if somebody may have read it \
         have an operator revoke it and make another"
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It does not read.
    #[error(transparent)]
    File(private_file::Error),
    /// It holds something else.
    #[error("`{path}` holds no join token")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: NotAJoinToken,
    },
}

/// Reads a join token.
///
/// # Errors
/// [`Error`], also if others than the file's owner may read it.
pub fn read(path: &Path) -> Result<JoinToken, Error> {
    let bytes = private_file::read(path).map_err(|error| match error {
        private_file::Error::Exposed { path, mode } => Error::Exposed { path, mode },
        error => Error::File(error),
    })?;
    let bytes = bytes.ok_or_else(|| Error::Absent(path.to_owned()))?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    text.parse().map_err(|source| Error::Malformed {
        path: path.to_owned(),
        source,
    })
}
