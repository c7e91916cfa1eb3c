//! Profiles: measured boots of real machines of ours, to be replayed into simulated TPMs.
//!
//! Each is a Debian 12 that booted in QEMU with OVMF and swtpm; the firmware's event log and what the
//! TPM said afterwards were kept in `profiles/`. The programs carry the logs inside them.

mod reference;

use touchstone_evidence::boot_log::BootLog;
#[cfg(feature = "swtpm")]
use touchstone_evidence::boot_log::BootLogError;

#[cfg(feature = "swtpm")]
use crate::swtpm::{Bank, Event};

pub use reference::{LifeCycle, reference_values};

/// One recorded boot.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// As `tpm-sim profile list` shows it.
    pub name: &'static str,
    /// What booted, in a few words.
    pub about: &'static str,
    /// What its [`ReferenceValues`](Profile::reference_values) are called unless told otherwise.
    pub reference_name: &'static str,
    /// The firmware's event log, as the kernel shows it in securityfs.
    pub boot_log: &'static [u8],
    /// The kernel's runtime measurement list after this boot, binary form.
    pub runtime_list: &'static [u8],
    /// What the kernel says was its command line (`/proc/cmdline`).
    pub command_line: &'static str,
}

/// All of them, by name.
const PROFILES: [Profile; 2] = [
    Profile {
        name: "shim_sb",
        about: "Debian 12 booted by shim and GRUB, UEFI Secure Boot on",
        reference_name: "debian-12-shim-grub",
        boot_log: include_bytes!("../profiles/shim_sb/bios.bin"),
        runtime_list: include_bytes!("../profiles/shim_sb/ima.bin"),
        command_line: include_str!("../profiles/shim_sb/cmdline"),
    },
    Profile {
        name: "shim_sb_evil",
        about: "shim_sb with a grub.cfg that was altered: another kernel command line",
        reference_name: "debian-12-shim-grub-altered",
        boot_log: include_bytes!("../profiles/shim_sb_evil/bios.bin"),
        runtime_list: include_bytes!("../profiles/shim_sb_evil/ima.bin"),
        command_line: include_str!("../profiles/shim_sb_evil/cmdline"),
    },
];

impl Profile {
    /// Every profile there is.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &PROFILES
    }

    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// What this boot extends, in order: for [`RunningTpm::replay`](crate::swtpm::RunningTpm::replay).
    ///
    /// # Errors
    /// That the log does not parse; a test sees that each does.
    #[cfg(feature = "swtpm")]
    pub fn events(&self) -> Result<Vec<Event>, BootLogError> {
        let log = BootLog::parse(self.boot_log)?;
        let extended = |event: &touchstone_evidence::boot_log::Event| {
            let digest = event.sha256().unwrap_or_default();
            (event.pcr, vec![(Bank::Sha256, digest.0.to_vec())])
        };
        Ok(log.events().iter().map(extended).collect())
    }

    /// The kernel command line as GRUB measured it, which is what reference values name.
    #[must_use]
    pub fn kernel_command_line(&self) -> Option<String> {
        let log = BootLog::parse(self.boot_log).ok()?;
        reference::kernel_command_line(&log).map(str::to_owned)
    }
}

#[cfg(all(test, feature = "swtpm"))]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use serde_json::Value;
    use sha2::{Digest as _, Sha256};
    use touchstone_evidence::boot_log::BOOT_PCRS;
    use touchstone_evidence::ima::ImaList;

    use super::*;

    /// PCR values that the real machine's TPM held after this boot, in hexadecimal.
    fn recorded(profile: &Profile, pcrs: &[u8]) -> BTreeMap<u8, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("profiles")
            .join(profile.name)
            .join("pcrs.json");
        let recorded: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        pcrs.iter()
            .map(|pcr| {
                let value = &recorded["pcrs"]["sha256"][pcr.to_string()];
                (*pcr, value.as_str().unwrap().to_owned())
            })
            .collect()
    }

    #[test]
    fn replay_gives_what_the_real_tpm_held() {
        for profile in Profile::all() {
            let mut values = BTreeMap::from(BOOT_PCRS.map(|pcr| (pcr, [0_u8; 32])));
            for (pcr, digests) in profile.events().unwrap() {
                let value = values.get_mut(&pcr).unwrap();
                *value = Sha256::digest([value.as_slice(), &digests[0].1].concat()).into();
            }
            let values: BTreeMap<u8, String> = values
                .into_iter()
                .map(|(pcr, value)| (pcr, hex::encode(value)))
                .collect();
            assert_eq!(values, recorded(profile, &BOOT_PCRS), "{}", profile.name);
        }
    }

    #[test]
    fn the_runtime_list_leads_to_what_the_real_tpm_held() {
        for profile in Profile::all() {
            let recorded = recorded(profile, &[10])[&10].clone();
            let list = ImaList::parse(profile.runtime_list).unwrap();
            let mut value = [0; 32];
            // The list may run ahead of the values.
            let reached = list.untrusted_extends().any(|digest| {
                value = Sha256::digest([value, digest.0].concat()).into();
                hex::encode(value) == recorded
            });
            assert!(reached, "{}", profile.name);
        }
    }

    #[test]
    fn the_profiles_differ_in_four_events_of_pcr_8_and_9() {
        let [good, altered] =
            ["shim_sb", "shim_sb_evil"].map(|name| Profile::named(name).unwrap().events().unwrap());
        assert_eq!(good.len(), altered.len());
        let differing: Vec<u8> = good
            .iter()
            .zip(&altered)
            .filter(|(good, altered)| good != altered)
            .map(|(good, _)| good.0)
            .collect();
        assert_eq!(differing.len(), 4, "{differing:?}");
        assert!(differing.iter().all(|pcr| [8, 9].contains(pcr)));
    }
}
