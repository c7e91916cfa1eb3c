//! A simulated host: a TPM that went through a recorded boot, and the agent that speaks for it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use serde_json::Value;
use tokio::process::{Child, Command};
use touchstone_tpm_sim::containers::podman::Podman;
use touchstone_tpm_sim::profile::Profile;
use touchstone_tpm_sim::runtime_list::RuntimeList;
use touchstone_tpm_sim::swtpm::{Authority, RunningTpm, Swtpm};

use crate::process;

/// The kernel makes a new UUID at each read.
const FRESH_UUID: &str = "/proc/sys/kernel/random/uuid";

/// A host under power.
pub(crate) struct Machine {
    folder: PathBuf,
    agent: PathBuf,
    tpm: RunningTpm,
}

impl Machine {
    /// Has its TPM made, switches it on and measures the boot into it. Blocks for one to two seconds.
    pub(crate) fn boot(
        name: &str,
        profile: &Profile,
        folder: PathBuf,
        maker: &Authority,
    ) -> anyhow::Result<Self> {
        let agent = process::sibling("touchstone-agent")?;
        let tpm = Swtpm::manufacture(&folder.join("tpm"), maker, name)?.start()?;
        tpm.replay(&profile.events()?)?;
        let machine = Self { folder, agent, tpm };
        fs::write(machine.boot_log(), profile.boot_log)?;
        let list = RuntimeList::at(machine.ima_list());
        list.begin(&machine.tpm, profile.runtime_list)?;
        fs::write(machine.boot_id(), fresh_uuid()?)?;
        Ok(machine)
    }

    /// The certificates that the maker left with the TPM, one for each endorsement key.
    pub(crate) fn ek_certificates(&self) -> [PathBuf; 2] {
        ["ek-rsa2048.crt", "ek-secp384r1.crt"].map(|name| self.folder.join("tpm").join(name))
    }

    /// Enrols with the attestor that this join token names.
    pub(crate) fn enrol(
        &self,
        token: &Path,
    ) -> impl Future<Output = anyhow::Result<Value>> + Send + 'static {
        let mut command = self.agent_command();
        command.args(["enrol", "--json", "--join-token"]).arg(token);
        process::json(command)
    }

    /// Attests once, by a process of its own, as after a reboot of the agent.
    pub(crate) fn attest(&self) -> impl Future<Output = anyhow::Result<Value>> + Send + 'static {
        let mut command = self.agent_command();
        command.args(["attest", "--once", "--json"]);
        process::json(command)
    }

    /// Starts the agent as a daemon, with a round every so many seconds. With a join token it enrols first; a podman is
    /// purged when the host's verdict turns.
    pub(crate) fn keep_attesting(
        &self,
        interval: u32,
        token: Option<&Path>,
        podman: Option<&Podman>,
    ) -> anyhow::Result<Child> {
        let log = fs::File::create(self.agent_log())?;
        let mut command = self.agent_command();
        command.args(["run", "--interval", &interval.to_string()]);
        // Each round, also one that brings nothing new: whoever starts an agent waits for the first.
        command.env(
            "TOUCHSTONE_LOG",
            "info,touchstone_agent::attest=debug,touchstone_agent::keyprovider=debug",
        );
        if let Some(podman) = podman {
            podman.tell(command.as_std_mut())?;
        }
        if let Some(token) = token {
            command.arg("--join-token").arg(token);
        }
        command
            .stderr(Stdio::from(log))
            .spawn()
            .context("cannot start the agent")
    }

    /// What is of this host alone.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its daemon serves keys of encrypted layers: not the machine's, since many hosts run here at once.
    pub(crate) fn keyprovider(&self) -> PathBuf {
        self.folder.join("keyprovider.sock")
    }

    /// What the agent says while it runs.
    pub(crate) fn agent_log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    /// The folder of its agent's state.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("agent")
    }

    fn agent_command(&self) -> Command {
        let mut command = process::command(&self.agent);
        command.envs(self.settings());
        command
    }

    /// The variables that tell an agent's command, the daemon too, that it is on this machine. Both sockets are in its
    /// folder: many hosts run here at once.
    pub(crate) fn settings(&self) -> [(&'static str, OsString); 7] {
        [
            ("TOUCHSTONE_STATE", self.state().into()),
            ("TOUCHSTONE_TCTI", self.tpm.tcti().into()),
            ("TOUCHSTONE_BOOT_LOG", self.boot_log().into()),
            ("TOUCHSTONE_IMA_LIST", self.ima_list().into()),
            ("TOUCHSTONE_BOOT_ID", self.boot_id().into()),
            ("TOUCHSTONE_KEYPROVIDER", self.keyprovider().into()),
            (
                "TOUCHSTONE_TRANSIT",
                self.folder.join("transit.sock").into(),
            ),
        ]
    }

    fn boot_log(&self) -> PathBuf {
        self.folder.join("binary_bios_measurements")
    }

    fn ima_list(&self) -> PathBuf {
        self.folder.join("binary_runtime_measurements")
    }

    fn boot_id(&self) -> PathBuf {
        self.folder.join("boot_id")
    }
}

/// A UUID that nobody has had.
pub(crate) fn fresh_uuid() -> anyhow::Result<String> {
    let text = fs::read_to_string(Path::new(FRESH_UUID)).context("the kernel gives no UUID")?;
    Ok(text.trim().to_owned())
}
