//! The boot: PCR values against reference values, and which event explains a difference.

use std::collections::BTreeSet;

use touchstone_evidence::boot_log::{self, Difference, Event, ReplayedLog};
use touchstone_evidence::claims::{Claims, Proof};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::finding::Finding;
use touchstone_evidence::pcr::PcrValues;

use super::Judged;
use crate::manifest::{Boot, LifeCycle, PolicySet, ReferenceEvent, ReferenceValues};

/// Code of the finding that other differences of a boot follow from.
const COMMAND_LINE: &str = "kernel-command-line-changed";

/// Judges the boot by the policy's reference values: one set must match wholly; where none does,
/// the findings are those of the nearest.
pub(super) fn judge(boot: &Boot, policies: &PolicySet, claims: &Claims) -> Judged {
    let Some(pcrs) = claims.pcrs() else {
        return Judged::contraindicated(claims.quote().findings().to_vec());
    };
    let log = match claims.boot() {
        Proof::Proven(log) => log,
        // An agent of an earlier version says nothing of the banks: that is no proof of a bad boot.
        Proof::Refuted(findings) if findings.iter().all(says_nothing_of_banks) => {
            return Judged::unknown(findings.clone());
        }
        Proof::Refuted(findings) => return Judged::contraindicated(findings.clone()),
    };
    let mut findings = secure_boot_findings(boot, log);
    let nearest = boot
        .reference_values
        .iter()
        .filter_map(|name| policies.references.get(name))
        .filter(|reference| reference.life_cycle == LifeCycle::Active)
        .map(|reference| differences(reference, pcrs, log))
        .min_by_key(Vec::len);
    match nearest {
        Some(differences) => findings.extend(differences),
        None => {
            findings.push(Finding::new("reference-values-absent"));
            return Judged::unknown(findings);
        }
    }
    if findings.is_empty() {
        return Judged::affirming();
    }
    Judged::contraindicated(findings)
}

fn says_nothing_of_banks(finding: &Finding) -> bool {
    finding.code == "pcr-banks-absent"
}

fn secure_boot_findings(boot: &Boot, log: &ReplayedLog) -> Vec<Finding> {
    if !boot.secure_boot || log.secure_boot() == Some(true) {
        return Vec::new();
    }
    vec![
        Finding::new("secure-boot-off")
            .expected("on")
            .observed(match log.secure_boot() {
                Some(_) => "off",
                None => "not measured",
            }),
    ]
}

/// Everything in which a boot differs from `reference`: the command line first, as the cause.
fn differences(reference: &ReferenceValues, pcrs: &PcrValues, log: &ReplayedLog) -> Vec<Finding> {
    let command_line = command_line_difference(reference, log);
    let observed_line = command_line
        .as_ref()
        .and_then(|finding| finding.observed.clone());
    let mut findings: Vec<Finding> = command_line.into_iter().collect();
    findings.extend(locality_difference(reference, log));
    for (pcr, good) in &reference.pcrs {
        let value = pcrs.value(pcr.0);
        if value.is_some_and(|value| good.contains(value)) {
            continue;
        }
        let events = event_differences(reference, log, pcr.0, observed_line.as_deref());
        let explained = !events.is_empty()
            && events.iter().all(|event| {
                event.code == COMMAND_LINE || event.consequence_of.as_deref() == Some(COMMAND_LINE)
            });
        let finding = Finding::new("pcr-value-unknown")
            .about(format_args!("PCR {}", pcr.0))
            .expected(any_of(good));
        let finding = match value {
            Some(value) => finding.observed(value),
            None => finding,
        };
        findings.extend(
            events
                .into_iter()
                .filter(|event| event.code != COMMAND_LINE),
        );
        findings.push(match explained {
            true => finding.because_of(COMMAND_LINE),
            false => finding,
        });
    }
    findings
}

/// PCR 0 says it too, but only in a digest that many other differences change.
fn locality_difference(reference: &ReferenceValues, log: &ReplayedLog) -> Option<Finding> {
    let (good, seen) = (reference.startup_locality.0, log.startup_locality());
    (good != seen).then(|| {
        Finding::new("startup-locality-changed")
            .expected(good)
            .observed(seen)
    })
}

/// Each command line that the boot loader measured must be a known one; where some are known, at
/// least one must have been measured.
fn command_line_difference(reference: &ReferenceValues, log: &ReplayedLog) -> Option<Finding> {
    let known = &reference.kernel_command_lines;
    if known.is_empty() {
        return None;
    }
    let mut measured = log.kernel_command_lines().peekable();
    let finding = Finding::new(COMMAND_LINE)
        .about("kernel command line")
        .expected(known.join("` or `"));
    if measured.peek().is_none() {
        return Some(finding);
    }
    let unknown = measured.find(|line| !known.iter().any(|good| good == line))?;
    Some(finding.observed(unknown))
}

/// Which events of one PCR differ.
fn event_differences(
    reference: &ReferenceValues,
    log: &ReplayedLog,
    pcr: u8,
    observed_line: Option<&str>,
) -> Vec<Finding> {
    let good: Vec<&ReferenceEvent> = reference
        .events
        .iter()
        .filter(|event| event.pcr.0 == pcr)
        .collect();
    if good.is_empty() {
        return Vec::new();
    }
    let seen: Vec<&Event> = log
        .events()
        .iter()
        .filter(|event| event.pcr == pcr)
        .collect();
    let same = |good: &&ReferenceEvent, seen: &&Event| Some(good.digest) == seen.sha256();
    // A reference event has no type: whatever stands in the same place is what it became.
    boot_log::differences(&good, &seen, same, |_, _| true)
        .into_iter()
        .map(|difference| match difference {
            Difference::Removed(good) => event_finding(Some(*good), None, pcr, observed_line),
            Difference::Added(seen) => event_finding(None, Some(*seen), pcr, observed_line),
            Difference::Changed(good, seen) => {
                event_finding(Some(*good), Some(*seen), pcr, observed_line)
            }
        })
        .collect()
}

fn event_finding(
    good: Option<&ReferenceEvent>,
    seen: Option<&Event>,
    pcr: u8,
    observed_line: Option<&str>,
) -> Finding {
    if let (Some(event), Some(line)) = (seen, observed_line)
        && event.proven_text() == Some(("kernel_cmdline", line))
    {
        return Finding::new(COMMAND_LINE);
    }
    let subject = match seen {
        Some(event) => format!("event {} (PCR {pcr})", event.number),
        None => format!("PCR {pcr}"),
    };
    let mut finding = Finding::new("boot-event-changed").about(subject);
    if let Some(event) = good {
        finding = finding.expected(described(&event.text, event.digest));
    }
    if let Some(event) = seen {
        finding = finding.observed(described(
            &event.untrusted_description(),
            event.sha256().unwrap_or_default(),
        ));
    }
    if follows_from_command_line(good, seen, observed_line) {
        finding = finding.because_of(COMMAND_LINE);
    }
    finding
}

/// A changed command line shows in the loader's commands that contain it, which their digests prove,
/// and in the digest of the configuration file that those commands were read from.
fn follows_from_command_line(
    good: Option<&ReferenceEvent>,
    seen: Option<&Event>,
    observed_line: Option<&str>,
) -> bool {
    let (Some(good), Some(seen), Some(line)) = (good, seen, observed_line) else {
        return false;
    };
    let names_line = seen
        .proven_text()
        .is_some_and(|(_, text)| text.contains(line));
    let configuration = seen.pcr == 9
        && seen.untrusted_description() == good.text
        && good.text.ends_with("grub.cfg");
    names_line || configuration
}

fn described(text: &str, digest: Sha256Digest) -> String {
    let digest = digest.to_string();
    format!("{text} [sha256:{}…]", digest.get(..12).unwrap_or_default())
}

fn any_of(values: &[Sha256Digest]) -> String {
    let unique: BTreeSet<String> = values.iter().map(ToString::to_string).collect();
    unique.into_iter().collect::<Vec<_>>().join(" or ")
}
