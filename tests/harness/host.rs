//! A host: a swtpm that booted a recorded log, and the agent's state folder for one attestor.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use touchstone_agent::Settings;
use touchstone_tpm_sim::lies::Machine;
use touchstone_tpm_sim::profile;
use touchstone_tpm_sim::runtime_list::RuntimeList;
use touchstone_tpm_sim::swtpm::{Authority, Bank, RunningTpm, Swtpm};

use crate::server::Server;
use crate::{many_banks, programs};

/// A measured boot that is kept in `tpm-sim/profiles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Secure Boot, shim, GRUB, signed kernel.
    Healthy,
    /// The same with another kernel command line in grub.cfg.
    Altered,
}

impl Profile {
    /// The boot log's file.
    #[must_use]
    pub fn boot_log(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tpm-sim/profiles")
            .join(self.name())
            .join("bios.bin")
    }

    /// The recorded boot.
    #[must_use]
    pub fn recorded(self) -> &'static profile::Profile {
        profile::Profile::named(self.name()).unwrap()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Healthy => "shim_sb",
            Self::Altered => "shim_sb_evil",
        }
    }
}

/// A machine under power.
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its TPM.
    pub tpm: RunningTpm,
    /// What its kernel measures.
    pub runtime_list: RuntimeList,
    profile: Profile,
    /// Where it is not the profile's own.
    boot_log: Option<PathBuf>,
    folder: TempDir,
}

/// All of a machine a second time, switched off.
pub struct Copy {
    name: String,
    profile: Profile,
    folder: TempDir,
}

impl Copy {
    /// Switches it on. Its address is its own; its TPM, keys and name are the machine's.
    #[must_use]
    pub fn boot(self) -> Host {
        let tpm = start(self.folder.path());
        let host = Host {
            name: self.name,
            tpm,
            runtime_list: runtime_list(self.folder.path()),
            profile: self.profile,
            boot_log: None,
            folder: self.folder,
        };
        host.measure();
        host
    }
}

impl Host {
    /// Makes a machine whose TPM `authority` certified, and boots it.
    #[must_use]
    pub fn boot(authority: &Authority, name: &str, profile: Profile) -> Self {
        Self::boot_made(name, profile, |folder| {
            Swtpm::manufacture(folder, authority, name).unwrap()
        })
    }

    /// Boots a machine whose TPM `make` makes in the folder that it is given.
    #[must_use]
    pub fn boot_made(name: &str, profile: Profile, make: impl FnOnce(&Path) -> Swtpm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tpm = make(&folder.path().join("tpm")).start().unwrap();
        tpm.replay(&profile.recorded().events().unwrap()).unwrap();
        let runtime_list = runtime_list(folder.path());
        let recorded = profile.recorded().runtime_list;
        runtime_list.begin(&tpm, recorded).unwrap();
        Self {
            name: name.to_owned(),
            tpm,
            runtime_list,
            profile,
            boot_log: None,
            folder,
        }
    }

    /// Makes a machine whose TPM has these `banks`, all of which its firmware measures into.
    #[must_use]
    pub fn boot_with_banks(authority: &Authority, name: &str, banks: &[Bank]) -> Self {
        let host = Self::untouched(authority, name, banks);
        let log = std::fs::read(host.profile.boot_log()).unwrap();
        let (log, events) = many_banks::measured(&log, banks);
        host.tpm.replay(&events).unwrap();
        host.measure_runtime();
        let path = host.folder.path().join("log");
        std::fs::write(&path, log).unwrap();
        Self {
            boot_log: Some(path),
            ..host
        }
    }

    /// Makes a machine whose firmware measures into none of its `banks`, and which serves the healthy log.
    #[must_use]
    pub fn untouched(authority: &Authority, name: &str, banks: &[Bank]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("tpm");
        Swtpm::manufacture_with_banks(&dir, authority, name, banks).unwrap();
        Self {
            name: name.to_owned(),
            tpm: start(folder.path()),
            runtime_list: runtime_list(folder.path()),
            profile: Profile::Healthy,
            boot_log: None,
            folder,
        }
    }

    /// What its firmware, boot loader and kernel measure.
    pub fn measure(&self) {
        let events = self.profile.recorded().events().unwrap();
        self.tpm.replay(&events).unwrap();
        self.measure_runtime();
    }

    /// What its kernel measures.
    pub fn measure_runtime(&self) {
        let recorded = self.profile.recorded().runtime_list;
        self.runtime_list.begin(&self.tpm, recorded).unwrap();
    }

    /// A TPM Restart: only restartCount moves.
    pub fn restart(&self) {
        self.tpm.restart().unwrap();
        self.measure();
    }

    /// The power fails and comes back.
    pub fn cut_power(&mut self) {
        self.tpm.cut_power().unwrap();
        self.tpm = start(self.folder.path());
        self.measure();
    }

    /// Switches the machine off, copies all of it, and boots it again.
    #[must_use]
    pub fn copy(&mut self) -> Copy {
        self.tpm.power_off().unwrap();
        let folder = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), folder.path());
        self.tpm = start(self.folder.path());
        self.measure();
        Copy {
            name: self.name.clone(),
            profile: self.profile,
            folder,
        }
    }

    /// Its TPM and what it boots.
    #[must_use]
    pub fn machine(&self) -> Machine<'_> {
        Machine {
            tpm: &self.tpm,
            profile: self.profile.recorded(),
            runtime_list: &self.runtime_list,
        }
    }

    /// Cuts to a new boot of the same log.
    pub fn reboot(&self) {
        self.machine().reboot().unwrap();
    }

    /// What the agent is told, with a state folder of its own for each attestor.
    #[must_use]
    pub fn settings(&self, server: &Server) -> Settings {
        let port = server.url.rsplit(':').next().unwrap();
        Settings {
            state: self.folder.path().join(format!("agent-{port}")),
            tcti: self.tpm.tcti(),
            boot_log: self
                .boot_log
                .clone()
                .unwrap_or_else(|| self.profile.boot_log()),
            ima_list: self.runtime_list.path().to_owned(),
            boot_id: self.boot_id(),
            ..Settings::default()
        }
    }

    fn boot_id(&self) -> PathBuf {
        let path = self.folder.path().join("boot_id");
        std::fs::write(&path, "6f2c5c0e-8a3d-4f53-9d0a-54a5a4a0c1de\n").unwrap();
        path
    }

    /// The EK certificate, DER, in a file.
    pub async fn ek_certificate(&self) -> String {
        let tpm = touchstone_agent::tpm::Tpm::open(&self.tpm.tcti())
            .await
            .unwrap();
        let path = self.folder.path().join("ek.der");
        std::fs::write(&path, tpm.endorsement().await.unwrap().certificate).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `touchstone-agent enrol`.
    pub fn enrol(&self, server: &Server, join_token: &Path) -> Result<Value, String> {
        self.agent(
            server,
            &["enrol", "--join-token", join_token.to_str().unwrap()],
        )
    }

    /// `touchstone-agent enrol --again`.
    pub fn enrol_again(&self, server: &Server, join_token: &Path) -> Result<Value, String> {
        let token = join_token.to_str().unwrap();
        self.agent(server, &["enrol", "--again", "--join-token", token])
    }

    /// A certificate that the maker left beside the TPM, `ek-secp384r1.crt` or `ek-rsa2048.crt`, DER.
    #[must_use]
    pub fn certificate_file(&self, name: &str) -> PathBuf {
        self.folder.path().join("tpm").join(name)
    }

    /// `touchstone-agent attest --once`.
    pub fn attest(&self, server: &Server) -> Result<Value, String> {
        self.agent(server, &["attest", "--once"])
    }

    /// `touchstone-agent ARGUMENTS`, told where everything of this host is.
    #[must_use]
    pub fn agent_command(&self, server: &Server, arguments: &[&str]) -> Command {
        agent_command(&self.settings(server), arguments)
    }

    /// Runs the agent; its JSON, or what it said on standard error. A bad verdict is no failure here.
    fn agent(&self, server: &Server, arguments: &[&str]) -> Result<Value, String> {
        let mut command = self.agent_command(server, arguments);
        let output = command.arg("--json").output().unwrap();
        serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// `touchstone-agent ARGUMENTS`, told where everything is by `settings`.
#[must_use]
pub fn agent_command(settings: &Settings, arguments: &[&str]) -> Command {
    command_of(&programs::path("touchstone-agent"), settings, arguments)
}

/// The same with another build of the agent.
#[must_use]
pub fn command_of(program: &Path, settings: &Settings, arguments: &[&str]) -> Command {
    let mut command = programs::command(program);
    command
        .args(arguments)
        .arg("--state")
        .arg(&settings.state)
        .args(["--tcti", &settings.tcti])
        .arg("--boot-log")
        .arg(&settings.boot_log)
        .arg("--ima-list")
        .arg(&settings.ima_list)
        .arg("--boot-id")
        .arg(&settings.boot_id)
        // Not the machine's: many hosts run here at once.
        .env("TOUCHSTONE_KEYPROVIDER", keyprovider(settings))
        .env("TOUCHSTONE_TRANSIT", transit(settings));
    command
}

/// Where a host's agent encrypts and decrypts secrets.
#[must_use]
pub fn transit(settings: &Settings) -> PathBuf {
    settings.state.with_extension("transit")
}

/// Where a host's agent serves keys of encrypted images.
#[must_use]
pub fn keyprovider(settings: &Settings) -> PathBuf {
    settings.state.with_extension("sock")
}

fn runtime_list(folder: &Path) -> RuntimeList {
    RuntimeList::at(folder.join("binary_runtime_measurements"))
}

fn start(folder: &Path) -> RunningTpm {
    Swtpm::open(&folder.join("tpm")).unwrap().start().unwrap()
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .unwrap();
        let to = to.join(name);
        if from.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_folder(&from, &to);
            let mode = from.metadata().unwrap().permissions();
            std::fs::set_permissions(&to, mode).unwrap();
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}
