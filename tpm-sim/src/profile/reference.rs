//! A profile as a `ReferenceValues` manifest: what a host that boots so has to look like.

use std::fmt::{self, Write as _};

use touchstone_evidence::boot_log::{BOOT_PCRS, Bank, BankDigest, BootLog, BootLogError, Event};

use super::Profile;

/// PCRs whose events explain a difference: the boot loader's commands and files.
const EXPLAINED: [u8; 2] = [8, 9];

/// Where reference values are in their life. Only active ones count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeCycle {
    /// Captured; an officer has yet to look at them.
    Pending,
    /// In force.
    Active,
    /// Replaced by newer ones.
    Obsolete,
    /// No longer in use.
    Retired,
    /// Known to be bad.
    Revoked,
}

impl fmt::Display for LifeCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Profile {
    /// The `ReferenceValues` manifest of this boot, YAML: PCRs 0–9 and 14, the kernel command line as
    /// GRUB measures it, and the events of PCR 8 and 9.
    ///
    /// # Errors
    /// That the log does not parse; a test sees that each does.
    pub fn reference_values(
        &self,
        name: &str,
        life_cycle: LifeCycle,
    ) -> Result<String, BootLogError> {
        let provenance = format!("{} (tpm-sim profile {})", self.about, self.name);
        reference_values(self.boot_log, name, &provenance, life_cycle)
    }
}

/// The same of any boot log with a SHA-256 bank, whose values `provenance` says the origin of.
///
/// # Errors
/// That the log does not parse.
pub fn reference_values(
    log: &[u8],
    name: &str,
    provenance: &str,
    life_cycle: LifeCycle,
) -> Result<String, BootLogError> {
    let log = BootLog::parse(log)?;
    let mut manifest = String::new();
    // Writing into a string cannot fail.
    let _ = write_manifest(&mut manifest, &log, name, provenance, life_cycle);
    Ok(manifest)
}

fn write_manifest(
    out: &mut String,
    log: &BootLog,
    name: &str,
    provenance: &str,
    life_cycle: LifeCycle,
) -> fmt::Result {
    writeln!(out, "apiVersion: touchstone.dev/v1")?;
    writeln!(out, "kind: ReferenceValues")?;
    writeln!(out, "metadata:\n  name: {}", quoted(name))?;
    writeln!(out, "spec:")?;
    writeln!(out, "  provenance: {}", quoted(provenance))?;
    writeln!(out, "  lifeCycle: {life_cycle}")?;
    if log.startup_locality() != 0 {
        writeln!(out, "  startupLocality: {}", log.startup_locality())?;
    }
    write_pcrs(out, log)?;
    if let Some(line) = kernel_command_line(log) {
        writeln!(out, "  kernelCommandLines:\n    - {}", quoted(line))?;
    }
    let explained = |event: &&Event| EXPLAINED.contains(&event.pcr);
    let mut explained = log.events().iter().filter(explained).peekable();
    if explained.peek().is_some() {
        writeln!(out, "  events:")?;
    }
    for event in explained {
        writeln!(out, "    - pcr: {}", event.pcr)?;
        writeln!(
            out,
            "      digest: {}",
            quoted(&event.sha256().unwrap_or_default().to_string())
        )?;
        let text = event.untrusted_description();
        writeln!(out, "      text: {}", quoted(&text))?;
    }
    Ok(())
}

/// The kernel command line as GRUB measured it.
pub(super) fn kernel_command_line(log: &BootLog) -> Option<&str> {
    log.events()
        .iter()
        .filter(|event| event.pcr == 8)
        .find_map(|event| match event.proven_text() {
            Some(("kernel_cmdline", line)) => Some(line),
            _ => None,
        })
}

fn write_pcrs(out: &mut String, log: &BootLog) -> fmt::Result {
    let values = log.replay(Bank::Sha256).unwrap_or_default();
    writeln!(out, "  pcrs:")?;
    for pcr in BOOT_PCRS {
        let value = values
            .get(&pcr)
            .and_then(BankDigest::sha256)
            .unwrap_or_default();
        writeln!(out, "    {pcr}: [{}]", quoted(&value.to_string()))?;
    }
    Ok(())
}

/// A YAML double-quoted scalar: of what JSON escapes, YAML takes all.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use touchstone_policies::manifest::PolicySet;

    use super::*;

    fn profile(name: &str) -> &'static Profile {
        Profile::named(name).unwrap()
    }

    #[test]
    fn every_profile_makes_a_manifest_that_parses() {
        for profile in Profile::all() {
            let text = profile
                .reference_values("captured: \"x\"", LifeCycle::Pending)
                .unwrap();
            let set = PolicySet::parse(&text).unwrap();
            let reference = &set.references["captured: \"x\""];
            assert_eq!(reference.pcrs.len(), BOOT_PCRS.len());
            assert_eq!(reference.kernel_command_lines.len(), 1);
            assert!(reference.events.len() > 10);
            assert_eq!(
                reference.life_cycle,
                touchstone_policies::manifest::LifeCycle::Pending
            );
        }
    }

    #[test]
    fn grub_measures_the_command_line_that_the_kernel_saw() {
        for profile in Profile::all() {
            let measured = profile.kernel_command_line().unwrap();
            // GRUB measures the file's name where the kernel is told BOOT_IMAGE=.
            let seen = profile.command_line.trim_end();
            assert_eq!(format!("BOOT_IMAGE={measured}"), seen);
        }
    }

    /// To renew a sample, put the output of `tpm-sim profile reference shim_sb --life-cycle active` into it.
    #[test]
    fn the_samples_hold_the_reference_values_of_shim_sb() {
        let values = profile("shim_sb")
            .reference_values("debian-12-shim-grub", LifeCycle::Active)
            .unwrap();
        for sample in [
            include_str!("../../../policies/samples/germany-only/policy.yaml"),
            include_str!("../../../policies/samples/known-good-boot/policy.yaml"),
        ] {
            assert!(sample.contains(&values));
            PolicySet::parse(sample).unwrap();
        }
    }

    #[test]
    fn the_sample_admits_only_to_known_good_hosts_in_germany() {
        let sample = include_str!("../../../policies/samples/germany-only/policy.yaml");
        let set = PolicySet::parse(sample).unwrap();
        let fleet = &set.hosts["fleet"];
        assert!(fleet.boot.as_ref().unwrap().secure_boot && fleet.location.is_some());
        // A simulator can show neither.
        assert!(!fleet.hardware && fleet.runtime.is_none());
        let payments = &set.workloads["payments"];
        assert_eq!(payments.host.region.as_deref(), Some("germany"));
        assert_eq!(set.regions["germany"].countries.len(), 1);
    }
}
