//! A simulated TPM under power.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::wire::Wire;
use super::{Error, Result, child};

/// How often two adjacent ports are looked for, or lost to somebody else before swtpm has them.
const ATTEMPTS: usize = 64;

/// A TPM that runs. Dropping it is an orderly power-off as far as it still answers.
#[derive(Debug)]
pub struct RunningTpm {
    process: Child,
    pub(super) wire: Wire,
    off: bool,
}

impl RunningTpm {
    /// Runs swtpm on the state in `dir`, on two free ports.
    pub(super) fn start(dir: &Path) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let Some((port, control)) = adjacent_ports() else {
                continue;
            };
            let mut tpm = Self::launch(dir, port, control)?;
            match tpm.wire.ping() {
                Ok(()) => return Ok(tpm),
                Err(silent) if !tpm.port_was_taken(dir) => return Err(tpm.why(dir, silent)),
                Err(_) => {}
            }
        }
        Err(Error::Ports { attempts: ATTEMPTS })
    }

    /// The control socket is handed over while it listens, so its port cannot be lost, and a connection
    /// waits in its queue until swtpm serves it: readiness needs no polling. swtpm binds the data port
    /// itself, before it serves control.
    fn launch(dir: &Path, port: u16, control: TcpListener) -> Result<Self> {
        let log = log(dir);
        let said = fs::File::create(&log).map_err(|source| Error::File { path: log, source })?;
        let mut command = child::mortal("swtpm");
        command
            .args(["socket", "--tpm2", "--flags", "startup-clear,not-need-init"])
            .args(["--ctrl", "type=tcp,fd=0", "--server"])
            .arg(format!("type=tcp,port={port},bindaddr=127.0.0.1"))
            .arg("--tpmstate")
            .arg(format!("dir={}", dir.display()))
            .stdin(OwnedFd::from(control))
            .stdout(Stdio::null())
            .stderr(said);
        Ok(Self {
            process: child::spawn("swtpm", command)?,
            wire: Wire {
                port,
                control: port + 1,
            },
            off: false,
        })
    }

    /// How tpm2-tss reaches it: `swtpm:host=127.0.0.1,port=…`.
    #[must_use]
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.wire.port)
    }

    /// An orderly reboot of the machine: TPM2_Shutdown(CLEAR), reset line, TPM2_Startup(CLEAR). PCRs are
    /// zero and resetCount is one more. The address stays.
    ///
    /// # Errors
    /// [`Error::Silent`] or [`Error::Refused`].
    pub fn reboot(&self) -> Result<()> {
        self.wire.shutdown()?;
        self.wire.init()?;
        self.wire.startup()
    }

    /// TPM2_Clear, as the owner of a machine may do at any time: attestation keys no longer load, NV
    /// indices of the owner are gone, clock and resetCount begin again; the endorsement keys stay.
    ///
    /// # Errors
    /// [`Error::Silent`] or [`Error::Refused`].
    pub fn clear(&self) -> Result<()> {
        self.wire.clear()
    }

    /// A TPM Restart (TPM 2.0 Part 1 §12.2.3): TPM2_Shutdown(STATE), reset line, TPM2_Startup(CLEAR). PCRs
    /// are zero and restartCount is one more; resetCount stays.
    ///
    /// # Errors
    /// [`Error::Silent`] or [`Error::Refused`].
    pub fn restart(&self) -> Result<()> {
        self.wire.shutdown_state()?;
        self.wire.init()?;
        self.wire.startup()
    }

    /// A power cut: the process is killed, and the TPM was told nothing. Start it anew by
    /// [`Swtpm::start`](super::Swtpm::start).
    ///
    /// # Errors
    /// [`Error::Run`] if it does not end.
    pub fn cut_power(&mut self) -> Result<()> {
        self.off = true;
        let ended = self.process.kill().and_then(|()| self.process.wait());
        ended.map(drop).map_err(|source| Error::Run {
            program: "swtpm",
            source,
        })
    }

    /// Sets the clock forward, as the owner may.
    ///
    /// # Errors
    /// [`Error::Silent`] or [`Error::Refused`].
    pub fn advance_clock(&self, by: Duration) -> Result<()> {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let clock = self.wire.read_clock()?.saturating_add(by);
        self.wire.set_clock(clock)
    }

    /// Gives the endorsement hierarchy an authorization value, as an owner may.
    ///
    /// # Errors
    /// [`Error::Silent`] or [`Error::Refused`].
    pub fn set_endorsement_auth(&self, value: [u8; 8]) -> Result<()> {
        self.wire.set_endorsement_auth(value)
    }

    /// An orderly power-off: TPM2_Shutdown(CLEAR), then the process ends.
    ///
    /// # Errors
    /// [`Error::Silent`] or [`Error::Refused`]; the process is gone all the same.
    pub fn stop(mut self) -> Result<()> {
        self.power_off()
    }

    /// As [`RunningTpm::stop`], where something else holds it.
    ///
    /// # Errors
    /// As there.
    pub fn power_off(&mut self) -> Result<()> {
        self.off = true;
        let orderly = self.wire.shutdown().and_then(|()| self.wire.power_off());
        if orderly.is_err() {
            // Fails only if it has ended already.
            let _ = self.process.kill();
        }
        self.process
            .wait()
            .map_err(|source| Error::Run {
                program: "swtpm",
                source,
            })
            .and(orderly)
    }

    /// Whether it ended because another process got the data port between our look and its bind.
    fn port_was_taken(&mut self, dir: &Path) -> bool {
        self.has_ended() && said(dir).contains("Address already in use")
    }

    /// Makes of its silence what swtpm said before it ended.
    fn why(mut self, dir: &Path, silent: Error) -> Error {
        if !self.has_ended() {
            return silent;
        }
        Error::Failed {
            program: "swtpm",
            said: child::tail(&said(dir)),
        }
    }

    /// Kills what does not answer, so that its log is whole; true if it had given up by itself.
    fn has_ended(&mut self) -> bool {
        self.off = true;
        let _ = self.process.kill();
        self.process
            .wait()
            .is_ok_and(|status| status.code().is_some())
    }
}

impl Drop for RunningTpm {
    fn drop(&mut self) {
        if !self.off {
            // An orderly end is for the state's sake; there is nobody to tell if it fails.
            let _ = self.power_off();
        }
    }
}

/// Where TPMs listen: below the ports that Linux gives to those who connect (`ip_local_port_range`), which
/// are full of connections just closed, since the TSS makes a new one for each command.
const PORTS: std::ops::Range<u16> = 10_240..32_768;

/// A free port and a listener on the one above it, of which the TSS knows no other way.
fn adjacent_ports() -> Option<(u16, TcpListener)> {
    let some = RandomState::new().build_hasher().finish();
    let width = u64::from(PORTS.end - PORTS.start - 1);
    let port = PORTS.start + u16::try_from(some % width).ok()?;
    let _free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).ok()?;
    Some((port, control))
}

fn log(dir: &Path) -> std::path::PathBuf {
    dir.join("swtpm.log")
}

fn said(dir: &Path) -> String {
    fs::read_to_string(log(dir)).unwrap_or_default()
}
