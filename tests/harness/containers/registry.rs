//! A registry on a port of its own.

use tempfile::TempDir;

use super::tool;
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
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n",
            folder.path().join("blobs").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = tool::command("docker-registry");
        command.arg("serve").arg(config);
        let mut process = Daemon::start(command);
        let line = process.wait_for("listening on ");
        let (_, rest) = line.split_once("listening on ").unwrap();
        let end = rest.find(['"', ' ']).unwrap_or(rest.len());
        Self {
            address: rest[..end].to_owned(),
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
