//! A registry on a port of its own.

use tempfile::TempDir;
use touchstone_tpm_sim::containers::registry;

use crate::daemon::Daemon;

/// A running registry, empty at first, which goes with this value.
pub struct Registry {
    address: String,
    _process: Daemon,
    _folder: TempDir,
}

impl Registry {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Daemon::start(registry::command(folder.path()).unwrap());
        let line = process.wait_for(registry::LISTENS);
        Self {
            address: registry::address(&line).unwrap().to_owned(),
            _process: process,
            _folder: folder,
        }
    }

    /// Where it is, `127.0.0.1:PORT`. It speaks HTTP.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// An image in it, as podman and containerd name it.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}
