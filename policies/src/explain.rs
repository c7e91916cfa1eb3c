//! What a `HostPolicy` demands of a host, and by what it is met, in words for a person.

use touchstone_evidence::host_id::HostId;

use crate::manifest::{Grade, HostPolicy, LifeCycle, PolicySet, Violations};

/// One demand of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The entry of the trust vector that says whether it is met.
    pub entry: &'static str,
    /// What is demanded.
    pub what: String,
    /// What proves it, where it is met.
    pub proof: &'static str,
}

/// The one `HostPolicy` that is for `host`, and what it demands; `None`: none is, or several are.
#[must_use]
pub fn demands<'a>(policies: &'a PolicySet, host: &HostId) -> Option<(&'a str, Vec<Demand>)> {
    let is_for = |policy: &HostPolicy| policy.hosts.iter().any(|one| one.matches(host));
    let mut matching = policies.hosts.iter().filter(|(_, policy)| is_for(policy));
    match (matching.next(), matching.next()) {
        (Some((name, policy)), None) => Some((name, of(policies, policy))),
        _ => None,
    }
}

fn of(policies: &PolicySet, policy: &HostPolicy) -> Vec<Demand> {
    let mut demands = vec![Demand {
        entry: "instance-identity",
        what: "the enrolled TPM answers, as one TPM, with the accepted firmware".to_owned(),
        proof: "a quote over the attestor's nonce, signed by the enrolled attestation key",
    }];
    if let Some(boot) = &policy.boot {
        let active = |name: &&String| {
            let reference = policies.references.get(*name);
            reference.is_some_and(|reference| reference.life_cycle == LifeCycle::Active)
        };
        let names: Vec<String> = boot
            .reference_values
            .iter()
            .filter(active)
            .map(|name| format!("`{name}`"))
            .collect();
        let names = match names.is_empty() {
            true => "reference values, of which none is active".to_owned(),
            false => format!("reference values {}", names.join(" or ")),
        };
        let secure_boot = if boot.secure_boot {
            ", with Secure Boot on"
        } else {
            ""
        };
        demands.push(Demand {
            entry: "configuration",
            what: format!("a boot that is known to be good, by {names}{secure_boot}"),
            proof: "the boot log, which leads to the quoted PCRs in every active bank",
        });
    }
    if let Some(runtime) = &policy.runtime {
        let violations = match runtime.violations {
            Violations::Refused => "without violations",
            Violations::Tolerated => "violations let pass",
        };
        demands.push(Demand {
            entry: "executables",
            what: format!("that what ran since boot is known to be good, {violations}"),
            proof: "the kernel's runtime list, which leads to the quoted PCR 10",
        });
    }
    if policy.hardware {
        demands.push(Demand {
            entry: "hardware",
            what: "a genuine TPM of a maker or cloud that is believed".to_owned(),
            proof: "the certificate of its endorsement key",
        });
    }
    if let Some(location) = &policy.location {
        let Grade::L1 = location.grade;
        demands.push(Demand {
            entry: "location",
            what: "a place, grade L1: an authority vouches for it".to_owned(),
            proof: "the host's current location tag, certified by its TPM in the same round",
        });
    }
    demands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_demanded_is_not_told() {
        let text = include_str!("../samples/germany-only/policy.yaml");
        let policies = PolicySet::parse(text).unwrap();
        let (name, demands) = demands(&policies, &"de-1".parse().unwrap()).unwrap();
        let entries: Vec<&str> = demands.iter().map(|demand| demand.entry).collect();
        assert_eq!(
            (name, entries.as_slice()),
            (
                "fleet",
                ["instance-identity", "configuration", "location"].as_slice()
            )
        );
        let boot = &demands[1].what;
        assert!(
            boot.contains("`debian-12-shim-grub`") && boot.contains("Secure Boot on"),
            "{boot}"
        );
        let pending =
            PolicySet::parse(&text.replace("lifeCycle: Active", "lifeCycle: Pending")).unwrap();
        let boot = &of(&pending, &pending.hosts["fleet"])[1].what;
        assert!(boot.contains("none is active"), "{boot}");
    }
}
