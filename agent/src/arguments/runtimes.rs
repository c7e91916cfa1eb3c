//! Options on the container runtimes that are purged.

use std::path::PathBuf;

use clap::Args;
use touchstone_agent::Runtimes;
use touchstone_agent::purge::{Containerd, Podman};

#[derive(Debug, Args)]
#[command(
    next_help_heading = "What is purged when the verdict turns (nothing that is not named here)"
)]
pub(crate) struct RuntimeArguments {
    /// The socket of a containerd, `/run/containerd/containerd.sock`; what reaches it has root's rights on this host
    #[arg(
        long,
        value_name = "SOCKET",
        env = "TOUCHSTONE_CONTAINERD",
        global = true
    )]
    containerd: Option<PathBuf>,

    /// A namespace of it, `k8s.io` or `default`; repeatable, or several with commas; without it, all
    #[arg(
        long,
        value_name = "NAME",
        env = "TOUCHSTONE_CONTAINERD_NAMESPACES",
        value_delimiter = ',',
        requires = "containerd",
        global = true
    )]
    containerd_namespace: Vec<String>,

    /// Where podman keeps images, `/var/lib/containers/storage`
    #[arg(
        long,
        value_name = "DIR",
        env = "TOUCHSTONE_PODMAN_ROOT",
        global = true
    )]
    podman_root: Option<PathBuf>,

    /// Where it keeps what a boot does not outlive
    #[arg(long, value_name = "DIR", env = "TOUCHSTONE_PODMAN_RUNROOT", default_value = Podman::RUNROOT, global = true)]
    podman_runroot: PathBuf,

    /// The program
    #[arg(long, value_name = "FILE", env = "TOUCHSTONE_PODMAN", default_value = Podman::PROGRAM, global = true)]
    podman: PathBuf,
}

impl RuntimeArguments {
    pub(crate) fn resolve(self) -> Runtimes {
        let (program, runroot) = (self.podman, self.podman_runroot);
        Runtimes {
            containerd: self.containerd.map(|socket| Containerd {
                socket,
                namespaces: self.containerd_namespace,
            }),
            podman: self.podman_root.map(|root| Podman {
                program,
                root,
                runroot,
            }),
        }
    }
}
