//! What the hosts booted, and the policy under which hosts that did are affirming.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use touchstone_evidence::boot_log::{Bank, BootLog};
use touchstone_tpm_sim::profile::{LifeCycle, Profile, reference_values};

/// The recorded boot that the program carries with it.
const PROFILE: &str = "shim_sb";
/// What the reference values of a log from a file are called.
const REFERENCE: &str = "load-boot-log";

/// Name of the WorkloadPolicy for these pods, and for keys of encrypted layers.
pub(crate) const WORKLOAD: &str = "load";

/// What every host's name begins with, and what the policy is for.
pub(crate) const PREFIX: &str = "load-";
/// The namespace, and the label `app`, of pods that the policy is for.
pub(crate) const PODS: &str = "load";

/// A boot that was recorded.
pub(crate) struct Recording {
    pub(crate) boot_log: Vec<u8>,
    /// What the kernel measured after it, where that is known.
    pub(crate) runtime_list: Option<&'static [u8]>,
    secure_boot: bool,
    reference_name: &'static str,
    /// A `ReferenceValues` manifest of this boot.
    reference_values: String,
}

impl Recording {
    /// The log in a file, or else the boot of our own.
    pub(crate) fn choose(file: Option<&Path>) -> anyhow::Result<Self> {
        match file {
            Some(file) => Self::read(file),
            None => Self::own(),
        }
    }

    fn own() -> anyhow::Result<Self> {
        let profile = Profile::named(PROFILE).context("the recorded boot is gone")?;
        let reference_name = profile.reference_name;
        let reference_values = profile.reference_values(reference_name, LifeCycle::Active)?;
        let runtime_list = Some(profile.runtime_list);
        let log = profile.boot_log.to_vec();
        Self::of(log, runtime_list, reference_name, reference_values)
    }

    fn read(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let log = fs::read(file).with_context(|| {
            format!(
                "cannot read the boot log `{shown}`; name one that firmware wrote, as \
                 /sys/kernel/security/tpm0/binary_bios_measurements"
            )
        })?;
        let provenance = format!("a load test that replays {shown}");
        let values = reference_values(&log, REFERENCE, &provenance, LifeCycle::Active);
        let values = values.with_context(|| format!("`{shown}` is no boot log"))?;
        Self::of(log, None, REFERENCE, values).with_context(|| {
            format!(
                "cannot simulate the boot of `{shown}`; `touchstone inspect boot-log` shows what it holds"
            )
        })
    }

    fn of(
        boot_log: Vec<u8>,
        runtime_list: Option<&'static [u8]>,
        reference_name: &'static str,
        reference_values: String,
    ) -> anyhow::Result<Self> {
        let log = BootLog::parse(&boot_log)?;
        ensure!(
            log.banks() == [Bank::Sha256],
            "it is of other PCR banks than SHA-256, the only one of software TPMs"
        );
        Ok(Self {
            secure_boot: log.secure_boot_policy(Bank::Sha256).secure_boot == Some(true),
            boot_log,
            runtime_list,
            reference_name,
            reference_values,
        })
    }

    /// Demands this boot of our hosts alone, and a place if there are tags; lets pods of ours onto them.
    pub(crate) fn policy(&self, tags: bool) -> String {
        let location = match tags {
            true => "\n  location:\n    grade: L1",
            false => "",
        };
        let Self {
            secure_boot,
            reference_name,
            reference_values,
            ..
        } = self;
        format!(
            "apiVersion: touchstone.dev/v1\nkind: HostPolicy\nmetadata:\n  name: load\nspec:\n  hosts: [\"{PREFIX}*\"]\n  \
             freshnessSeconds: 300\n  boot:\n    referenceValues: [{reference_name}]\n    \
             secureBoot: {secure_boot}{location}\n---\n\
             apiVersion: touchstone.dev/v1\nkind: WorkloadPolicy\nmetadata:\n  name: {WORKLOAD}\nspec:\n  pod:\n    \
             namespaces: [{PODS}]\n    labels:\n      app: {PODS}\n  host:\n    tier: affirming\n---\n{reference_values}"
        )
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use touchstone_policies::manifest::PolicySet;

    use super::*;

    #[test]
    fn the_policy_reads_and_demands_a_place_where_there_are_tags() {
        let recording = Recording::choose(None).unwrap();
        for tags in [false, true] {
            let set = PolicySet::parse(&recording.policy(tags)).unwrap();
            let load = &set.hosts["load"];
            assert_eq!(load.location.is_some(), tags);
            assert!(load.boot.as_ref().unwrap().secure_boot);
            assert!(set.references.contains_key(recording.reference_name));
            assert!(set.workloads.contains_key("load"));
        }
    }

    #[test]
    fn a_log_from_a_file_has_reference_values_of_its_own_and_no_log_says_what_one_is() {
        let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let altered = Recording::choose(Some(&profiles.join("shim_sb_evil/bios.bin"))).unwrap();
        let set = PolicySet::parse(&altered.policy(false)).unwrap();
        assert!(set.references[REFERENCE].events.len() > 10);
        assert!(altered.runtime_list.is_none());
        let no_log = Recording::choose(Some(&profiles.join("localca.pem"))).err();
        let said = format!("{:#}", no_log.unwrap());
        assert!(said.contains("localca.pem` is no boot log"), "{said}");
    }
}
