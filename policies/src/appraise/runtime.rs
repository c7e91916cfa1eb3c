//! What ran since boot: as far as it can be judged without lists of what may run.
//!
//! Invariant: nothing here affirms. A proven list is complete, and that is all; what the kernel leaves out of
//! it, and what its entries are worth, is not looked at (docs/officers.md, What a runtime claim would need).

use touchstone_evidence::claims::Proof;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::ima::ProvenRuntime;

use super::Judged;
use crate::manifest::{Runtime, Violations};

/// Findings by which a host has shown nothing; all others mean that it has shown something wrong.
const NOTHING_SHOWN: [&str; 3] = [
    "ima-list-absent",
    "ima-list-unfinished",
    "ima-nothing-measured",
];

/// Judges the runtime list: at best, nothing is known against it.
pub(super) fn judge(demanded: Option<&Runtime>, runtime: &Proof<ProvenRuntime>) -> Judged {
    let proven = match runtime {
        Proof::Proven(proven) => proven,
        Proof::Refuted(findings) if findings.iter().all(shows_nothing) => {
            return Judged::unknown(findings.clone());
        }
        Proof::Refuted(findings) => return Judged::contraindicated(findings.clone()),
    };
    let refused = demanded.is_some_and(|demanded| demanded.violations == Violations::Refused);
    if refused && proven.violations() > 0 {
        return Judged::contraindicated(vec![
            Finding::new("ima-violations")
                .expected(0)
                .observed(proven.violations()),
        ]);
    }
    Judged::unknown(vec![Finding::new("runtime-not-judged")])
}

fn shows_nothing(finding: &Finding) -> bool {
    NOTHING_SHOWN.contains(&finding.code.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use touchstone_evidence::ima::{ImaPart, PcrDigest, QuotedPcrs, Replay};
    use touchstone_evidence::result::TrustTier;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Recorded {
        pcrs: BTreeMap<String, BTreeMap<String, String>>,
    }

    /// Our own recorded list, with its violations set.
    fn proven(violations: u64) -> Proof<ProvenRuntime> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tpm-sim/profiles/shim_sb/");
        let list = std::fs::read(format!("{folder}ima.bin")).unwrap();
        let pcrs = std::fs::read_to_string(format!("{folder}pcrs.json")).unwrap();
        // JSON is YAML.
        let recorded: Recorded = serde_saphyr::from_str(&pcrs).unwrap();
        let values: BTreeMap<u8, PcrDigest> = recorded.pcrs["sha256"]
            .iter()
            .map(|(pcr, value)| {
                let value = format!("sha256:{value}");
                (pcr.parse().unwrap(), value.parse().unwrap())
            })
            .collect();
        let quoted = QuotedPcrs::recorded(&values).unwrap();
        let whole = ImaPart {
            offset_bytes: 0,
            bytes: &list,
            more: false,
        };
        let Ok(Replay::Proven(replayed)) = whole.verify(None, &quoted) else {
            panic!("the recorded list replays")
        };
        // Nothing new since a round that had counted these.
        let mut state = *replayed.state();
        state.violations = violations;
        let nothing = ImaPart {
            offset_bytes: state.offset_bytes,
            bytes: &[],
            more: false,
        };
        let Ok(Replay::Proven(replayed)) = nothing.verify(Some(&state), &quoted) else {
            panic!("nothing new replays")
        };
        Proof::Proven(ProvenRuntime::from(&replayed))
    }

    fn judged(
        violations: Option<Violations>,
        runtime: &Proof<ProvenRuntime>,
    ) -> (TrustTier, String) {
        let demanded = violations.map(|violations| Runtime { violations });
        let judged = judge(demanded.as_ref(), runtime);
        (judged.tier, judged.findings[0].code.clone())
    }

    #[test]
    fn a_proven_list_is_none_and_violations_are_as_policy_says() {
        use TrustTier::{Contraindicated, None};
        let settings = [
            Option::None,
            Some(Violations::Tolerated),
            Some(Violations::Refused),
        ];
        for setting in settings {
            let clean = judged(setting, &proven(0));
            assert_eq!(clean, (None, "runtime-not-judged".to_owned()));
            let expected = match setting {
                Some(Violations::Refused) => (Contraindicated, "ima-violations".to_owned()),
                _ => (None, "runtime-not-judged".to_owned()),
            };
            assert_eq!(judged(setting, &proven(2)), expected);
        }
    }

    #[test]
    fn nothing_shown_is_none_and_something_wrong_is_contraindicated() {
        for (code, tier) in [
            ("ima-list-absent", TrustTier::None),
            ("ima-list-unfinished", TrustTier::None),
            ("ima-nothing-measured", TrustTier::None),
            ("ima-list-withheld", TrustTier::Contraindicated),
            ("ima-replay-mismatch", TrustTier::Contraindicated),
            ("not-a-quote", TrustTier::Contraindicated),
        ] {
            let refuted = Proof::Refuted(vec![Finding::new(code)]);
            for setting in [None, Some(Violations::Tolerated)] {
                assert_eq!(judged(setting, &refuted), (tier, code.to_owned()));
            }
        }
    }
}
