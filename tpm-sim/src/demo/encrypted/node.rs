//! A host's podman, and the agent that serves it keys and purges it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::time::sleep;
use touchstone_tpm_sim::containers::keys::{Key, Provider};
use touchstone_tpm_sim::containers::podman::Podman;

use super::ran::Ran;
use crate::demo::host::Host;
use crate::process;

/// Seconds between rounds of a host: as long as a verdict that turned is not known to it.
pub(in crate::demo) const INTERVAL: u32 = 2;
/// Longest that a verdict may take to show on a host.
const TURN_MAX: Duration = Duration::from_secs(60);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(300);
/// What podman tells its key provider, for which there is no rule but that it is not empty.
const PARAMETER: &str = "node";

/// A host on which images run.
pub(in crate::demo) struct Node {
    /// The host's name.
    pub(in crate::demo) name: &'static str,
    /// The variables that its agent was started with.
    pub(in crate::demo) settings: Vec<(&'static str, OsString)>,
    /// Its agent, as podman knows it.
    pub(in crate::demo) provider: Provider,
    pub(in crate::demo) podman: Podman,
    agent: Child,
    agent_log: PathBuf,
}

/// Where the podman of a host is, below the host's folder.
pub(super) fn podman_folder(host: &Path) -> PathBuf {
    host.join("podman")
}

/// An image as a volume of a container.
pub(super) fn mount(image: &str) -> String {
    format!("type=image,source={image},destination=/information")
}

impl Node {
    /// Starts the agent as a daemon.
    pub(super) fn start(host: &Host, registry: &str) -> anyhow::Result<Self> {
        let machine = &host.machine;
        let podman = Podman::new(podman_folder(machine.folder()), registry)?;
        let config = machine.folder().join("ocicrypt.json");
        let purged = podman.settings()?.map(|(name, path)| (name, path.into()));
        Ok(Self {
            name: host.plan.name,
            settings: machine.settings().into_iter().chain(purged).collect(),
            provider: Provider::socket(config, &machine.keyprovider())?,
            agent: machine.keep_attesting(INTERVAL, None, Some(&podman))?,
            agent_log: machine.agent_log(),
            podman,
        })
    }

    /// Until the agent has attested.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        process::line_in(&self.agent_log, "attested").await?;
        Ok(())
    }

    /// Pulls an image, which is decrypted on the way.
    pub(super) async fn pull(&self, image: &str) -> anyhow::Result<Ran> {
        let command = self.podman.pull(image, Some(&self.key()))?;
        let output = process::output(process::quiet(command)).await?;
        Ok(Ran::read(&output, None))
    }

    /// Runs an image to its end, which is to print `line`; it is pulled and decrypted unless it is there.
    pub(super) async fn run(&self, image: &str, more: &[&str], line: &str) -> anyhow::Result<Ran> {
        let command = self.podman.pull_and_run(image, &self.key(), more)?;
        let output = process::output(process::quiet(command)).await?;
        Ok(Ran::read(&output, Some(line)))
    }

    /// The same, until it is as it should be or time is up.
    pub(super) async fn run_in_time(&self, image: &str, line: &str) -> anyhow::Result<Ran> {
        let begun = Instant::now();
        loop {
            let ran = self.run(image, &[], line).await?;
            if ran.good || begun.elapsed() > TURN_MAX {
                return Ok(ran);
            }
            sleep(LOOK).await;
        }
    }

    /// Leaves the workload running, with its records; whether it does.
    pub(super) async fn keep_running(&self, image: &str, records: &str) -> anyhow::Result<bool> {
        let mount = mount(records);
        let begin = ["run", "--detach", "--pull=never", "--mount"];
        let arguments = [&begin[..], &[&mount, image, "stay"]].concat();
        let command = self.podman.command(&arguments)?;
        let output = process::output(process::quiet(command)).await?;
        Ok(output.status.success() && !self.running().await?.is_empty())
    }

    /// Whether nothing runs any more and nothing lies decrypted on the disk, in time.
    pub(super) async fn purged(&self) -> anyhow::Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < TURN_MAX {
            if self.running().await?.is_empty() && self.podman.layers()?.is_empty() {
                return Ok(true);
            }
            sleep(LOOK).await;
        }
        Ok(false)
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        process::stop(self.agent, "an agent").await
    }

    /// Ids of what runs.
    async fn running(&self) -> anyhow::Result<Vec<u8>> {
        let command = self.podman.command(&["ps", "--quiet"])?;
        process::printed(process::quiet(command)).await
    }

    fn key(&self) -> Key {
        self.provider.key(PARAMETER)
    }
}
