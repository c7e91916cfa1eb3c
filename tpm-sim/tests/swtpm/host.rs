//! A host's TPM under power, made anew for each test.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Instant;

use tempfile::TempDir;
use touchstone_agent::tpm::Tpm;
use touchstone_tpm_sim::swtpm::{self, Authority, RunningTpm, Swtpm};
use tss_esapi::constants::CapabilityType;
use tss_esapi::structures::CapabilityData;
use tss_esapi::{Context, TctiNameConf};

/// A TPM with all that lies under it.
pub(super) struct Host {
    pub(super) running: RunningTpm,
    pub(super) authority: Authority,
    pub(super) swtpm: Swtpm,
    _dir: TempDir,
}

/// Whether swtpm is installed; says so, loudly, where it is not.
pub(super) fn available() -> bool {
    match swtpm::available() {
        Ok(()) => true,
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            false
        }
    }
}

impl Host {
    /// A TPM fresh from its maker; `None` where swtpm is not installed.
    pub(super) fn start() -> Option<Self> {
        Self::of(|dir, authority| Swtpm::manufacture(dir, authority, "host-a"))
    }

    /// As [`Host::start`], of a TPM that is made in another way.
    pub(super) fn of(
        make: impl FnOnce(&Path, &Authority) -> Result<Swtpm, swtpm::Error>,
    ) -> Option<Self> {
        if !available() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let authority = Authority::create(&dir.path().join("authority")).unwrap();
        let certified = began.elapsed();
        let swtpm = make(&dir.path().join("tpm"), &authority).unwrap();
        let manufactured = began.elapsed();
        let running = swtpm.start().unwrap();
        eprintln!(
            "authority {certified:.0?}, manufacture {:.0?}, start {:.1?}",
            manufactured - certified,
            began.elapsed() - manufactured
        );
        Some(Self {
            running,
            authority,
            swtpm,
            _dir: dir,
        })
    }

    pub(super) async fn open(&self) -> Tpm {
        Tpm::open(&self.running.tcti()).await.unwrap()
    }

    pub(super) fn context(&self) -> Context {
        Context::new(TctiNameConf::from_str(&self.running.tcti()).unwrap()).unwrap()
    }

    /// Transient objects, loaded sessions and saved sessions (TPM 2.0 Part 2 §7.2): none may be left.
    pub(super) fn assert_nothing_left(&self, after: &str) {
        let mut context = self.context();
        for range in [0x8000_0000, 0x0200_0000, 0x0300_0000] {
            let asked = context.get_capability(CapabilityType::Handles, range, 16);
            let (CapabilityData::Handles(left), _) = asked.unwrap() else {
                panic!("not a list of handles");
            };
            assert!(left.is_empty(), "{after} left {:?}", left.into_inner());
        }
    }
}
