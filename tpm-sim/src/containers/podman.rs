//! podman with a storage of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::error::write;
use super::keys::Key;
use super::{Error, Result, registry, tool};

/// A podman whose settings, images and containers lie in one folder. What runs ends with this value.
#[derive(Debug)]
pub struct Podman {
    folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Layer {
    id: String,
    #[serde(default)]
    diff_digest: Option<String>,
}

impl Podman {
    /// Writes the settings of one that knows a registry (`127.0.0.1:PORT`).
    ///
    /// # Errors
    /// A tool is missing, or `folder` cannot be written to.
    pub fn new(folder: PathBuf, registry: &str) -> Result<Self> {
        let podman = Self { folder };
        write(&podman.containers_conf(), podman.containers_settings()?)?;
        write(&podman.storage_conf(), podman.storage_settings())?;
        registry::trust(&podman.folder, registry)?;
        Ok(podman)
    }

    /// The one whose settings were written into this folder, if there are any.
    #[must_use]
    pub fn left_in(folder: PathBuf) -> Option<Self> {
        let podman = Self { folder };
        podman.containers_conf().is_file().then_some(podman)
    }

    /// Pulls an image, and decrypts it if there is a key.
    ///
    /// # Errors
    /// podman is missing, as with every command here.
    pub fn pull(&self, image: &str, key: Option<&Key>) -> Result<Command> {
        let mut command = self.command(&["pull"])?;
        decrypt(&mut command, key);
        command.arg(image);
        Ok(command)
    }

    /// Runs an image that is there to its end.
    ///
    /// # Errors
    /// podman is missing.
    pub fn run(&self, image: &str) -> Result<Command> {
        let arguments = ["run", "--rm", "--pull=never", image];
        self.command(&arguments)
    }

    /// Pulls an image unless it is there, decrypts it, and runs it to its end with `more` arguments.
    ///
    /// # Errors
    /// podman is missing.
    pub fn pull_and_run(&self, image: &str, key: &Key, more: &[&str]) -> Result<Command> {
        let mut command = self.command(&["run", "--rm", "--quiet"])?;
        decrypt(&mut command, Some(key));
        command.args(more).arg(image);
        Ok(command)
    }

    /// Any command of podman.
    ///
    /// # Errors
    /// podman is missing.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = tool::command("podman")?;
        command.envs(self.environment()).args(arguments);
        Ok(command)
    }

    /// Where podman finds its settings, and those of registries. skopeo takes the latter too.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("HOME", self.folder.clone()),
            ("CONTAINERS_CONF", self.containers_conf()),
            ("CONTAINERS_STORAGE_CONF", self.storage_conf()),
            ("PODMAN_IGNORE_CGROUPSV1_WARNING", "1".into()),
        ]
    }

    /// Tells an agent of it, which is to purge it.
    ///
    /// # Errors
    /// podman is missing.
    pub fn tell(&self, agent: &mut Command) -> Result<()> {
        agent.envs(self.environment()).envs(self.settings()?);
        Ok(())
    }

    /// The variables by which an agent is told which podman it is to purge, beside those of [`Podman::environment`].
    ///
    /// # Errors
    /// podman is missing.
    pub fn settings(&self) -> Result<[(&'static str, PathBuf); 3]> {
        Ok([
            ("TOUCHSTONE_PODMAN", tool::path_of("podman")?),
            ("TOUCHSTONE_PODMAN_ROOT", self.storage()),
            ("TOUCHSTONE_PODMAN_RUNROOT", self.runroot()),
        ])
    }

    /// The layers that lie on the disk decrypted, by the digests of their archives, whether an image has them or not.
    /// Those of containers, which are of no archive, by their ids.
    ///
    /// # Errors
    /// podman's list of them is of another form.
    pub fn layers(&self) -> Result<Vec<String>> {
        let path = self.storage().join("vfs-layers/layers.json");
        let Ok(text) = fs::read(&path) else {
            return Ok(Vec::new());
        };
        let layers: Vec<Layer> =
            serde_json::from_slice(&text).map_err(|source| Error::Layers { path, source })?;
        let name = |layer: Layer| layer.diff_digest.unwrap_or(layer.id);
        Ok(layers.into_iter().map(name).collect())
    }

    /// Nothing is shared with a podman of the machine: no lock, no folder below /run.
    fn containers_settings(&self) -> Result<String> {
        let netavark = tool::path_of("netavark")?;
        let helpers = netavark.parent().unwrap_or(Path::new("/"));
        Ok(format!(
            "[containers]\nnetns = \"none\"\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
             lock_type = \"file\"\ntmp_dir = {tmp:?}\n\
             helper_binaries_dir = [{helpers:?}]\nconmon_path = [{conmon:?}]\n\
             [engine.runtimes]\nrunc = [{runc:?}]\n",
            tmp = self.folder.join("libpod"),
            conmon = tool::path_of("conmon")?,
            runc = tool::path_of("runc")?,
        ))
    }

    /// Each layer a folder of its own (`vfs`): other drivers want a file system that has overlays.
    fn storage_settings(&self) -> String {
        format!(
            "[storage]\ndriver = \"vfs\"\nrunroot = {:?}\ngraphroot = {:?}\n",
            self.runroot(),
            self.storage()
        )
    }

    fn containers_conf(&self) -> PathBuf {
        self.folder.join("containers.conf")
    }

    fn storage_conf(&self) -> PathBuf {
        self.folder.join("storage.conf")
    }

    fn storage(&self) -> PathBuf {
        self.folder.join("storage")
    }

    fn runroot(&self) -> PathBuf {
        self.folder.join("run")
    }
}

fn decrypt(command: &mut Command, key: Option<&Key>) {
    if let Some(key) = key {
        command.arg("--decryption-key").arg(key.decrypting());
        key.tell(command);
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Containers outlive who started them, and keep mounts in the folder.
        let remove = self.command(&["rm", "--all", "--force", "--time", "0"]);
        let _containers_gone = remove.map(|mut remove| remove.output());
    }
}
