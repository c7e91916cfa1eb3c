//! A simulated host: a TPM that went through a recorded boot, and the agent that speaks for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use serde_json::Value;
use tokio::process::{Child, Command};
use touchstone_tpm_sim::runtime_list::RuntimeList;
use touchstone_tpm_sim::swtpm::{Authority, RunningTpm, Swtpm};

use super::fleet::Plan;
use crate::process;

/// The kernel makes a new UUID at each read.
const FRESH_UUID: &str = "/proc/sys/kernel/random/uuid";

/// A host under power.
pub(super) struct Host {
    pub(super) plan: Plan,
    folder: PathBuf,
    agent: PathBuf,
    tpm: RunningTpm,
}

impl Host {
    /// Has its TPM made, switches it on and measures the boot into it. Blocks for one to two seconds.
    pub(super) fn boot(plan: Plan, folder: PathBuf, maker: &Authority) -> anyhow::Result<Self> {
        let profile = plan.profile()?;
        let agent = process::sibling("touchstone-agent")?;
        let tpm = Swtpm::manufacture(&folder.join("tpm"), maker, plan.name)?.start()?;
        tpm.replay(&profile.events()?)?;
        let host = Self {
            plan,
            folder,
            agent,
            tpm,
        };
        fs::write(host.boot_log(), profile.boot_log)?;
        let list = RuntimeList::at(host.ima_list());
        list.begin(&host.tpm, profile.runtime_list)?;
        fs::write(host.boot_id(), fresh_uuid()?)?;
        Ok(host)
    }

    /// The certificates that the maker left with the TPM, one for each endorsement key.
    pub(super) fn ek_certificates(&self) -> [PathBuf; 2] {
        ["ek-rsa2048.crt", "ek-secp384r1.crt"].map(|name| self.folder.join("tpm").join(name))
    }

    /// Where its join token is to lie.
    pub(super) fn join_token(&self) -> PathBuf {
        self.folder.join("join-token")
    }

    /// Enrols with the attestor that the join token names.
    pub(super) fn enrol(&self) -> impl Future<Output = anyhow::Result<Value>> + Send + 'static {
        let mut command = self.agent_command();
        command
            .args(["enrol", "--json", "--join-token"])
            .arg(self.join_token());
        process::json(command)
    }

    /// Attests once, by a process of its own, as after a reboot of the agent.
    pub(super) fn attest(&self) -> impl Future<Output = anyhow::Result<Value>> + Send + 'static {
        let mut command = self.agent_command();
        command.args(["attest", "--once", "--json"]);
        process::json(command)
    }

    /// Starts the agent as a daemon.
    pub(super) fn keep_attesting(&self) -> anyhow::Result<Child> {
        let log = fs::File::create(self.folder.join("agent.log"))?;
        self.agent_command()
            .args(["run", "--interval", "30"])
            .stderr(Stdio::from(log))
            .spawn()
            .context("cannot start the agent")
    }

    /// The folder of its agent's state.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("agent")
    }

    fn agent_command(&self) -> Command {
        let mut command = process::command(&self.agent);
        command
            .arg("--state")
            .arg(self.state())
            .arg("--tcti")
            .arg(self.tpm.tcti())
            .arg("--boot-log")
            .arg(self.boot_log())
            .arg("--ima-list")
            .arg(self.ima_list())
            .arg("--boot-id")
            .arg(self.boot_id());
        command
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
pub(super) fn fresh_uuid() -> anyhow::Result<String> {
    let text = fs::read_to_string(Path::new(FRESH_UUID)).context("the kernel gives no UUID")?;
    Ok(text.trim().to_owned())
}
