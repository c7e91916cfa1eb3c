//! podman with a storage of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::keys::Key;
use super::registry::Registry;
use super::tool::{self, Said};

/// A node's podman, which goes with this value.
pub struct Podman {
    folder: TempDir,
}

impl Podman {
    /// One that knows a registry.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let podman = Self { folder };
        podman.configure(registry);
        podman
    }

    fn configure(&self, registry: &Registry) {
        let tools = tool::folder();
        let [tools, folder] = [&tools, self.folder.path()].map(Path::display);
        let write = |name: &str, text: String| fs::write(self.path(name), text).unwrap();
        // Nothing is shared with a podman of the machine: no lock, no folder below /run.
        write(
            "containers.conf",
            format!(
                "[containers]\nnetns = \"none\"\n\
                 default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                 [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
                 lock_type = \"file\"\ntmp_dir = \"{folder}/libpod\"\n\
                 helper_binaries_dir = [\"{tools}\"]\nconmon_path = [{conmon:?}]\n\
                 [engine.runtimes]\nrunc = [{runc:?}]\n",
                conmon = tool::path_of("conmon"),
                runc = tool::path_of("runc"),
            ),
        );
        // As it is: other drivers want a file system that has overlays.
        write(
            "storage.conf",
            format!(
                "[storage]\ndriver = \"vfs\"\nrunroot = \"{folder}/run\"\ngraphroot = \"{folder}/storage\"\n"
            ),
        );
        write(
            "registries.conf",
            format!(
                "[[registry]]\nlocation = \"{}\"\ninsecure = true\n",
                registry.address()
            ),
        );
        fs::create_dir_all(self.path(".config/containers")).unwrap();
        write(
            ".config/containers/policy.json",
            r#"{"default": [{"type": "insecureAcceptAnything"}]}"#.to_owned(),
        );
    }

    /// Pulls an image, and decrypts it if there is a key.
    #[must_use]
    pub fn pull(&self, image: &str, key: Option<&Key>) -> Said {
        let mut command = self.command(&["pull"]);
        if let Some(key) = key {
            command.arg("--decryption-key").arg(key.decrypting());
            key.tell(&mut command);
        }
        tool::run(command.arg(image))
    }

    /// Runs an image that is there to its end.
    #[must_use]
    pub fn run(&self, image: &str) -> Said {
        tool::run(self.command(&["run", "--rm", "--pull=never"]).arg(image))
    }

    /// Any command of podman.
    #[must_use]
    pub fn call(&self, arguments: &[&str]) -> Said {
        tool::run(&mut self.command(arguments))
    }

    /// The layers that lie on the disk decrypted, by the digests of their archives, whether an image has them or not.
    #[must_use]
    pub fn layers(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("storage/vfs-layers/layers.json"));
        let Ok(text) = text else { return Vec::new() };
        let layers: Vec<Value> = serde_json::from_str(&text).unwrap();
        let digest = |layer: &Value| layer["diff-digest"].as_str().unwrap().to_owned();
        layers.iter().map(digest).collect()
    }

    /// Tells an agent of it.
    pub fn tell(&self, agent: &mut Command) {
        self.configured(agent)
            .arg("--podman")
            .arg(tool::path_of("podman"))
            .arg("--podman-root")
            .arg(self.path("storage"))
            .arg("--podman-runroot")
            .arg(self.path("run"));
    }

    fn configured<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("HOME", self.folder.path())
            .env("CONTAINERS_CONF", self.path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tool::command("podman");
        self.configured(&mut command)
            .env("CONTAINERS_REGISTRIES_CONF", self.path("registries.conf"))
            .env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1")
            .args(arguments);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let mut remove = self.command(&["rm", "--all", "--force", "--time", "0"]);
        let _containers_gone = remove.output();
    }
}
