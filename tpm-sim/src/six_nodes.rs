//! Six hosts behind six nodes, of which one may run what must stay on proven hosts in Germany; and why the others may
//! not, each for a reason of its own.

/// One of them. Its node is `node-HOST`.
#[derive(Clone, Copy, Debug)]
pub struct Six {
    /// Its name in the inventory.
    pub host: &'static str,
    /// Name of the recorded boot that it replays.
    pub boot: &'static str,
    /// The country that its location tag says; nothing: it carries none.
    pub country: Option<&'static str>,
    /// Whether its verdict is kept fresh; one that is not holds for [`BRIEF`].
    pub attests_on: bool,
    /// Whether an operator said that it stands behind its node.
    pub mapped: bool,
    /// What is about it.
    pub about: &'static str,
    /// The tier of its verdict while that holds.
    pub tier: &'static str,
    /// Why pods of the policy may not run there; nothing: they may.
    pub refused: Option<Refused>,
}

/// Why not.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// Code of the first finding.
    pub code: &'static str,
    /// Part of the sentence that whoever asked for the pod reads.
    pub words: &'static str,
}

impl Six {
    /// The node that it is.
    #[must_use]
    pub fn node(&self) -> String {
        format!("node-{}", self.host)
    }
}

/// Seconds for which a verdict holds of a host that does not attest on.
pub const BRIEF: i64 = 10;

/// The policy is for pods of this namespace that have this label `app`.
pub const NAMESPACE: &str = "payments";
/// The same as the namespace, as it happens.
pub const APP: &str = "payments";

const GOOD: Six = Six {
    host: "de-1",
    boot: "shim_sb",
    country: Some("DE"),
    attests_on: true,
    mapped: true,
    about: "known-good boot, in Germany",
    tier: "affirming",
    refused: None,
};

/// All of them.
pub const ALL: [Six; 6] = [
    GOOD,
    Six {
        host: "us-1",
        country: Some("US"),
        about: "known-good boot, in the United States",
        refused: Some(Refused {
            code: "region-mismatch",
            words: "outside the region `germany`",
        }),
        ..GOOD
    },
    Six {
        host: "de-2",
        boot: "shim_sb_evil",
        about: "altered kernel command line",
        tier: "contraindicated",
        refused: Some(Refused {
            code: "tier-insufficient",
            words: "kernel command line changed",
        }),
        ..GOOD
    },
    Six {
        host: "de-3",
        attests_on: false,
        about: "good, but has not attested lately",
        refused: Some(Refused {
            code: "result-expired",
            words: "has not attested lately",
        }),
        ..GOOD
    },
    Six {
        host: "de-4",
        country: None,
        about: "known-good boot, no location tag",
        tier: "none",
        refused: Some(Refused {
            code: "tier-insufficient",
            words: "no location tag",
        }),
        ..GOOD
    },
    Six {
        host: "de-5",
        mapped: false,
        about: "good, but nobody said which node it is",
        refused: Some(Refused {
            code: "node-unmapped",
            words: "mapped to no host",
        }),
        ..GOOD
    },
];

const SAMPLE: &str = include_str!("../../policies/samples/germany-only/policy.yaml");
const EVERY_HOST: &str = r#"hosts: ["*"]"#;
const FRESH: &str = "freshnessSeconds: 300";

/// Manifests for them: the sample `germany-only`, where verdicts of hosts that do not attest on are soon over.
#[must_use]
pub fn policy() -> String {
    let hosts = |attests_on: bool| {
        let some = ALL.iter().filter(|six| six.attests_on == attests_on);
        let names: Vec<&str> = some.map(|six| six.host).collect();
        format!("hosts: [{}]", names.join(", "))
    };
    let (fleet, rest) = SAMPLE.split_once("---\n").unwrap_or((SAMPLE, ""));
    let brief = fleet
        .replace("name: fleet", "name: brief")
        .replace(EVERY_HOST, &hosts(false))
        .replace(FRESH, &format!("freshnessSeconds: {BRIEF}"));
    let fleet = fleet.replace(EVERY_HOST, &hosts(true));
    format!("{fleet}---\n{brief}---\n{rest}")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use touchstone_policies::manifest::PolicySet;

    use super::*;

    #[test]
    fn each_host_has_one_policy_and_only_some_are_soon_over() {
        let policies = PolicySet::parse(&policy()).unwrap();
        for six in ALL {
            let host = six.host.parse().unwrap();
            let of_it = policies.hosts.values().filter(|policy| {
                let mut patterns = policy.hosts.iter();
                patterns.any(|pattern| pattern.matches(&host))
            });
            let fresh: Vec<i64> = of_it
                .map(|policy| policy.freshness_seconds.seconds())
                .collect();
            let expected = if six.attests_on { 300 } else { BRIEF };
            assert_eq!(fresh, [expected], "{}", six.host);
        }
    }
}
