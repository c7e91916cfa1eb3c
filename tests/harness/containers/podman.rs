//! podman with a storage of its own, in a folder that goes with it.

use std::process::Command;

use tempfile::TempDir;
use touchstone_tpm_sim::containers::podman;

use super::keys::Key;
use super::registry::Registry;
use super::tool::{self, Said};

/// A node's podman, which goes with this value.
pub struct Podman {
    podman: podman::Podman,
    _folder: TempDir,
}

impl Podman {
    /// One that knows a registry.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let podman = podman::Podman::new(folder.path().to_owned(), registry.address()).unwrap();
        Self {
            podman,
            _folder: folder,
        }
    }

    /// Pulls an image, and decrypts it if there is a key.
    #[must_use]
    pub fn pull(&self, image: &str, key: Option<&Key>) -> Said {
        tool::run(&mut self.podman.pull(image, key).unwrap())
    }

    /// Runs an image that is there to its end.
    #[must_use]
    pub fn run(&self, image: &str) -> Said {
        tool::run(&mut self.podman.run(image).unwrap())
    }

    /// Any command of podman.
    #[must_use]
    pub fn call(&self, arguments: &[&str]) -> Said {
        tool::run(&mut self.podman.command(arguments).unwrap())
    }

    /// The layers that lie on the disk decrypted, by the digests of their archives, whether an image has them or not.
    #[must_use]
    pub fn layers(&self) -> Vec<String> {
        self.podman.layers().unwrap()
    }

    /// Tells an agent of it.
    pub fn tell(&self, agent: &mut Command) {
        self.podman.tell(agent).unwrap();
    }
}
