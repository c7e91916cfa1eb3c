//! containerd as on a node of Kubernetes, with folders and a socket of its own, and imgcrypt's decoder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::keys::{CONFIG, Key};
use super::mounts;
use super::tool::{self, Said};
use crate::daemon::Daemon;

/// Other snapshotters want a file system that has overlays.
const SNAPSHOTTER: &str = "native";

/// Where kubelets have containers write to; each containerd here has a folder of its own there.
pub const LOGS: &str = "/var/log";

/// A kubelet takes a node for ready where a network is configured. In the host's network none is asked for.
const NO_NETWORK: &str = r#"{"cniVersion": "0.3.1", "name": "none", "type": "none"}"#;

/// The kubelet's.
const NAMESPACE: &str = "k8s.io";

/// Far more than anything here takes, even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Container ids name control groups, which are the machine's.
static CONTAINERS: AtomicU32 = AtomicU32::new(0);

/// A node's containerd, which goes with this value.
pub struct Containerd {
    process: Daemon,
    folder: TempDir,
}

impl Containerd {
    /// Starts one whose decoder has a key.
    #[must_use]
    pub fn start(key: &Key) -> Self {
        Self::begin(key, "nowhere.invalid/pause")
    }

    /// The same for pods, each of which has a container of the image `pause`, as containerd is set up beside a kubelet.
    #[must_use]
    pub fn for_pods(key: &Key, pause: &str) -> Self {
        Self::begin(key, pause)
    }

    fn begin(key: &Key, pause: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        fs::write(&config, configuration(folder.path(), key, pause)).unwrap();
        let networks = folder.path().join("cni");
        fs::create_dir(&networks).unwrap();
        fs::write(networks.join("none.conf"), NO_NETWORK).unwrap();
        let logs = logs(folder.path());
        fs::create_dir(&logs).unwrap();
        let mut command = mounts::command(&tool::path_of("containerd"), &[(&logs, LOGS.as_ref())]);
        command.arg("--config").arg(config);
        let mut process = Daemon::start(command);
        process.wait_for("containerd successfully booted");
        Self { process, folder }
    }

    /// Pulls an image and unpacks it with the decoder's key.
    #[must_use]
    pub fn pull(&self, image: &str) -> Said {
        let mut command = self.command("ctr-imgcrypt", &["images", "pull", "--plain-http"]);
        let said = tool::run(command.args(["--snapshotter", SNAPSHOTTER, image]));
        if said.is_good() {
            self.wait_for_id(image);
        }
        said
    }

    /// Soon after a pull the image is named by its id too: before that it cannot be removed for good.
    fn wait_for_id(&self, image: &str) {
        let begun = Instant::now();
        let is_id = |name: &String| name.starts_with("sha256:");
        while !self.names(image).iter().any(is_id) {
            assert!(begun.elapsed() < PATIENCE, "{image} has no id");
        }
    }

    /// Runs an image that is there to its end.
    #[must_use]
    pub fn run(&self, image: &str) -> Said {
        let number = CONTAINERS.fetch_add(1, Ordering::Relaxed);
        let id = format!("touchstone-{}-{number}", std::process::id());
        let arguments = ["run", "--rm", "--snapshotter", SNAPSHOTTER, image, &id];
        self.call(&arguments)
    }

    /// Runs an image that is there until it is stopped; the container's id.
    #[must_use]
    pub fn keep_running(&self, image: &str) -> String {
        let number = CONTAINERS.fetch_add(1, Ordering::Relaxed);
        let id = format!("touchstone-{}-{number}", std::process::id());
        let begin = ["run", "--detach", "--snapshotter", SNAPSHOTTER, image, &id];
        let arguments = [&begin[..], &["/bin/busybox", "sleep", "1000"]].concat();
        let _said = self.call(&arguments).good();
        id
    }

    /// Ids of what runs.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        lines(&self.call(&["tasks", "ls", "-q"]).good())
    }

    /// Ids of containers, whether they run or not.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        lines(&self.call(&["containers", "ls", "-q"]).good())
    }

    /// Any command of ctr.
    #[must_use]
    pub fn call(&self, arguments: &[&str]) -> Said {
        tool::run(&mut self.command("ctr", arguments))
    }

    /// The names that an image has, one of which is its id.
    #[must_use]
    pub fn names(&self, image: &str) -> Vec<String> {
        let row = self.call(&["images", "ls", &format!("name=={image}")]);
        let row = lines(&row.good()).pop().unwrap();
        let digest = row
            .split_whitespace()
            .find(|word| word.starts_with("sha256:"));
        let Some(digest) = digest else {
            return Vec::new();
        };
        self.names_of(digest)
    }

    /// The names that a manifest has.
    #[must_use]
    pub fn names_of(&self, digest: &str) -> Vec<String> {
        let names = self.call(&["images", "ls", "-q", &format!("target.digest=={digest}")]);
        lines(&names.good())
    }

    /// Removes an image under all of its names, and returns when nothing that was its alone is left.
    pub fn purge(&self, image: &str) {
        let names = self.names(image);
        let names = names.iter().map(String::as_str);
        let arguments: Vec<&str> = ["images", "rm", "--sync"]
            .into_iter()
            .chain(names)
            .collect();
        let _said = self.call(&arguments).good();
    }

    /// Digests of the blobs, which are encrypted.
    #[must_use]
    pub fn blobs(&self) -> Vec<String> {
        lines(&self.call(&["content", "ls", "-q"]).good())
    }

    /// Keys of the snapshots, which are decrypted: the chain ids of their layers.
    #[must_use]
    pub fn snapshots(&self) -> Vec<String> {
        let table = self.call(&["snapshots", "--snapshotter", SNAPSHOTTER, "ls"]);
        let rows = lines(&table.good());
        let key = |row: &String| row.split_whitespace().next().map(str::to_owned);
        rows.iter().skip(1).filter_map(key).collect()
    }

    /// Its socket, for clients of its API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(self.folder.path())
    }

    /// Its blobs.
    #[must_use]
    pub fn content_store(&self) -> PathBuf {
        let store = "root/io.containerd.content.v1.content/blobs/sha256";
        self.folder.path().join(store)
    }

    /// What it has as `/var/log`.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        logs(self.folder.path())
    }

    /// Whether a container has said these words, up to now.
    #[must_use]
    pub fn heard(&self, words: &str) -> bool {
        contains(&self.logs(), words.as_bytes())
    }

    /// Whether these words lie anywhere on its disk.
    #[must_use]
    pub fn keeps(&self, words: &str) -> bool {
        contains(&self.folder.path().join("root"), words.as_bytes())
    }

    /// What it has logged.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = tool::command(program);
        command.arg("--address").arg(self.socket());
        command.args(["--namespace", NAMESPACE]).args(arguments);
        command
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("containerd.sock")
}

fn logs(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Whether a file below this folder has these bytes in it. What goes meanwhile has none.
fn contains(folder: &Path, bytes: &[u8]) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map_while(Result::ok).any(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => contains(&path, bytes),
            Ok(kind) if kind.is_file() => {
                fs::read(&path).is_ok_and(|held| memchr::memmem::find(&held, bytes).is_some())
            }
            _ => false,
        }
    })
}

fn configuration(folder: &Path, key: &Key, pause: &str) -> String {
    let (arguments, environment) = match key {
        Key::File(path) => (
            format!(
                "'--decryption-keys-path', '{}'",
                path.parent().unwrap().display()
            ),
            String::new(),
        ),
        Key::Provider { config, .. } => (String::new(), format!("'{CONFIG}={}'", config.display())),
    };
    let decoder = tool::deployed("containerd/touchstone-decoder");
    let (place, decoder) = (folder.display(), decoder.display());
    let processors = ["tar", "tar.gzip", "tar.zstd"].map(|kind| {
        let layer = format!(
            "application/vnd.oci.image.layer.v1.{}",
            kind.replace('.', "+")
        );
        format!(
            "[stream_processors.'io.containerd.ocicrypt.decoder.v1.{kind}']\n\
             accepts = ['{layer}+encrypted']\nreturns = '{layer}'\npath = '{decoder}'\n\
             args = [{arguments}]\nenv = [{environment}]\n"
        )
    });
    format!(
        "version = 2\nroot = '{place}/root'\nstate = '{place}/state'\n\
         disabled_plugins = ['io.containerd.internal.v1.opt', 'io.containerd.nri.v1.nri']\n\
         [plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = '{pause}'\nrestrict_oom_score_adj = true\n\
         [plugins.'io.containerd.grpc.v1.cri'.cni]\nconf_dir = '{place}/cni'\n\
         [plugins.'io.containerd.grpc.v1.cri'.containerd]\nsnapshotter = '{SNAPSHOTTER}'\n\
         [plugins.'io.containerd.grpc.v1.cri'.image_decryption]\nkey_model = 'node'\n\
         [grpc]\naddress = '{socket}'\n[ttrpc]\naddress = '{place}/ttrpc.sock'\n{processors}",
        socket = socket(folder).display(),
        processors = processors.concat()
    )
}

/// What ctr lists; it logs warnings too, as of who called containerd by an interface that is about to go.
fn lines(text: &str) -> Vec<String> {
    let listed = |line: &&str| !line.trim().is_empty() && !line.starts_with("time=");
    text.lines().filter(listed).map(str::to_owned).collect()
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // What a failed test left running: shims live longer than containerd.
        let tasks = self.command("ctr", &["tasks", "ls", "-q"]).output();
        let tasks = tasks.map(|output| output.stdout).unwrap_or_default();
        for task in String::from_utf8_lossy(&tasks).lines() {
            let mut remove = self.command("ctr", &["tasks", "rm", "--force", task]);
            let _gone = remove.output();
        }
    }
}
