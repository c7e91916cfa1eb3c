//! A host: a swtpm that booted a recorded log, and the agent's state folder for one attestor.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use touchstone_agent::Settings;
use touchstone_evidence::boot_log::BootLog;
use touchstone_tpm_sim::swtpm::{Authority, Bank, RunningTpm, Swtpm};

use crate::programs;
use crate::server::Server;

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
        let name = match self {
            Self::Healthy => "shim_sb",
            Self::Altered => "shim_sb_evil",
        };
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tpm-sim/profiles")
            .join(name)
            .join("bios.bin")
    }
}

/// A machine under power.
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its TPM.
    pub tpm: RunningTpm,
    profile: Profile,
    folder: TempDir,
}

impl Host {
    /// Makes a machine whose TPM `authority` certified, and boots it.
    #[must_use]
    pub fn boot(authority: &Authority, name: &str, profile: Profile) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tpm = Swtpm::manufacture(&folder.path().join("tpm"), authority, name).unwrap();
        let tpm = tpm.start().unwrap();
        let host = Self {
            name: name.to_owned(),
            tpm,
            profile,
            folder,
        };
        host.measure();
        host
    }

    /// Cuts to a new boot of the same log.
    pub fn reboot(&self) {
        self.tpm.reboot().unwrap();
        self.measure();
    }

    fn measure(&self) {
        let log = BootLog::parse(&std::fs::read(self.profile.boot_log()).unwrap()).unwrap();
        let events: Vec<_> = log
            .events()
            .iter()
            .map(|event| {
                (
                    event.pcr,
                    vec![(Bank::Sha256, event.sha256().unwrap().0.to_vec())],
                )
            })
            .collect();
        self.tpm.replay(&events).unwrap();
    }

    /// What the agent is told, with a state folder of its own for each attestor.
    #[must_use]
    pub fn settings(&self, server: &Server) -> Settings {
        let port = server.url.rsplit(':').next().unwrap();
        Settings {
            state: self.folder.path().join(format!("agent-{port}")),
            tcti: self.tpm.tcti(),
            boot_log: self.profile.boot_log(),
            boot_id: self.boot_id(),
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

    /// `touchstone-agent attest --once`.
    pub fn attest(&self, server: &Server) -> Result<Value, String> {
        self.agent(server, &["attest", "--once"])
    }

    /// Runs the agent; its JSON, or what it said on standard error. A bad verdict is no failure here.
    fn agent(&self, server: &Server, arguments: &[&str]) -> Result<Value, String> {
        let settings = self.settings(server);
        let output = programs::command(&programs::path("touchstone-agent"))
            .args(arguments)
            .arg("--json")
            .arg("--state")
            .arg(&settings.state)
            .args(["--tcti", &settings.tcti])
            .arg("--boot-log")
            .arg(&settings.boot_log)
            .arg("--boot-id")
            .arg(&settings.boot_id)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
