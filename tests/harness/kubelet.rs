//! A real kubelet: it runs what is bound to one node of a live control plane, on a containerd of the harness.
//!
//! Nothing of the machine is its own: it listens on the loopback, keeps its files and logs in a folder that goes with
//! it, makes no control groups but those of containers, and what it would set in the kernel it finds set already.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use touchstone_tpm_sim::kubernetes::ControlPlane;

use crate::containers::containerd::{Containerd, LOGS};
use crate::containers::{mounts, tool};
use crate::daemon::Daemon;

/// What kubelets set below /proc/sys, unless it is so (kubernetes `pkg/util/sysctl`). They read it from files here.
const TUNABLES: [(&str, &str); 6] = [
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
];

/// The kubelet, which ends with this value. What it started goes with its containerd.
pub struct Kubelet {
    process: Daemon,
    folder: TempDir,
}

impl Kubelet {
    /// Starts one for a node, which may be there already as an entry.
    #[must_use]
    pub fn start(
        program: &Path,
        plane: &ControlPlane,
        node: &str,
        containerd: &Containerd,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = format!("system:node:{node}");
        let kubeconfig = plane.kubeconfig(&user, Some("system:nodes")).unwrap();
        let help = tool::run(Command::new(program).arg("--help")).good();
        let config = folder.path().join("config.json");
        fs::write(&config, configuration(folder.path(), &help).to_string()).unwrap();
        fs::create_dir(manifests(folder.path())).unwrap();
        let tunables = tunables(folder.path());
        let logs = containerd.logs();
        let mut instead: Vec<(&Path, &Path)> = vec![(&logs, LOGS.as_ref())];
        instead.extend(
            tunables
                .iter()
                .map(|(ours, machines)| (&**ours, &**machines)),
        );
        let mut command = mounts::command(program, &instead);
        command.args([
            flag("config", &config),
            flag("kubeconfig", &kubeconfig),
            flag("hostname-override", node),
            flag("root-dir", folder.path().join("root")),
            flag("cert-dir", folder.path().join("certificates")),
            flag("volume-plugin-dir", folder.path().join("plugins")),
            flag(
                "container-runtime-endpoint",
                format!("unix://{}", containerd.socket().display()),
            ),
        ]);
        // Up to 1.26 there were others.
        if has_line(&help, "--container-runtime string") {
            command.arg("--container-runtime=remote");
        }
        Self {
            process: Daemon::start(command),
            folder,
        }
    }

    /// Has it run a pod that nobody is asked about: it reads them from files.
    pub fn run(&self, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let file = manifests(self.folder.path()).join(format!("{name}.json"));
        fs::write(file, pod.to_string()).unwrap();
    }

    /// What it has logged.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}

fn configuration(folder: &Path, help: &str) -> Value {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": "127.0.0.1", "port": port, "healthzPort": 0,
        "authentication": { "anonymous": { "enabled": false }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "cgroupsPerQOS": false, "enforceNodeAllocatable": [], "cgroupDriver": "cgroupfs",
        "failSwapOn": false, "makeIPTablesUtilChains": false,
        // The disk and the memory are the machine's.
        "evictionHard": {}, "imageGCHighThresholdPercent": 100, "oomScoreAdj": 0,
        "staticPodPath": manifests(folder), "fileCheckFrequency": "1s",
    });
    // Its socket would be in /var/lib/kubelet, wherever `--root-dir` is. From 1.26 on nobody can turn it off.
    if has_line(help, "DevicePlugins=true|false (BETA") {
        configuration["featureGates"] = json!({ "DevicePlugins": false });
    }
    configuration
}

fn manifests(folder: &Path) -> PathBuf {
    folder.join("manifests")
}

/// Files with the values, and the kernel's in whose place they are.
fn tunables(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let file = |(name, value): (&str, &str)| {
        let ours = folder.join(name.replace('/', "."));
        fs::write(&ours, value).unwrap();
        (ours, Path::new("/proc/sys").join(name))
    };
    TUNABLES.map(file).into()
}

fn has_line(help: &str, begin: &str) -> bool {
    help.lines().any(|line| line.trim().starts_with(begin))
}

fn flag(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}
