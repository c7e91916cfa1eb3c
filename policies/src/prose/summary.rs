//! Several findings in one line.

use std::collections::{BTreeMap, BTreeSet};

use touchstone_evidence::finding::Finding;

use super::{fill, sentence};

/// All findings in one line: causes whole, those of one code together, consequences counted behind the
/// cause that they follow from.
#[must_use]
pub fn summary(findings: &[Finding]) -> String {
    let mut parts = Vec::new();
    let causes: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.consequence_of.is_none())
        .collect();
    let mut told = BTreeSet::new();
    for finding in &causes {
        if !told.insert(finding.code.as_str()) {
            continue;
        }
        let alike: Vec<&Finding> = causes
            .iter()
            .copied()
            .filter(|other| other.code == finding.code)
            .collect();
        let sentence = together(finding, &alike);
        let following = findings
            .iter()
            .filter(|other| other.consequence_of.as_deref() == Some(finding.code.as_str()))
            .count();
        parts.push(match following {
            0 => sentence,
            1 => format!("{sentence} (1 consequence)"),
            count => format!("{sentence} ({count} consequences)"),
        });
    }
    parts.join("; ")
}

/// Codes that come once a PCR, and what they say of several. Values are told one by one, elsewhere.
const OF_SEVERAL_PCRS: &[(&str, &str)] = &[
    (
        "boot-log-bank-replay-mismatch",
        "the boot event log does not lead to the quoted {subject}",
    ),
    (
        "boot-log-replay-mismatch",
        "the boot event log does not lead to the quoted {subject}",
    ),
    ("pcr-value-unknown", "{subject} have no known-good value"),
];

/// What findings of one code say together; `first` is one of them.
fn together(first: &Finding, alike: &[&Finding]) -> String {
    if alike.len() < 2 {
        return sentence(first);
    }
    let template = OF_SEVERAL_PCRS.iter().find(|(code, _)| *code == first.code);
    if let Some(((_, template), pcrs)) = template.zip(pcrs(alike)) {
        return fill(template, &[("{subject}", &pcrs)]);
    }
    let sentences: BTreeSet<String> = alike.iter().map(|finding| sentence(finding)).collect();
    let shown = sentence(first);
    match sentences.len().saturating_sub(1) {
        0 => shown,
        more => format!("{shown}, and {more} more of this kind"),
    }
}

/// `PCRs 0–9, 14`, or `PCRs 4, 8 of sha384`, where each finding is about a PCR.
fn pcrs(findings: &[&Finding]) -> Option<String> {
    let mut banks: BTreeMap<Option<&str>, BTreeSet<u8>> = BTreeMap::new();
    for finding in findings {
        let subject = finding.subject.strip_prefix("PCR ")?;
        let (pcr, bank) = match subject.split_once(" of ") {
            Some((pcr, bank)) => (pcr, Some(bank)),
            None => (subject, None),
        };
        banks.entry(bank).or_default().insert(pcr.parse().ok()?);
    }
    let told = banks.iter().map(|(bank, pcrs)| match bank {
        Some(bank) => format!("PCRs {} of {bank}", ranges(pcrs)),
        None => format!("PCRs {}", ranges(pcrs)),
    });
    Some(told.collect::<Vec<_>>().join(" and "))
}

fn ranges(pcrs: &BTreeSet<u8>) -> String {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for pcr in pcrs {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*pcr) => *last = *pcr,
            _ => ranges.push((*pcr, *pcr)),
        }
    }
    let told = ranges.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}–{last}"),
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_one_code_are_told_together() {
        let mismatch = |pcr: u8| {
            Finding::new("boot-log-replay-mismatch")
                .about(format!("PCR {pcr}"))
                .expected("aa")
                .observed("bb")
        };
        let mut findings: Vec<Finding> = (0..=9).chain([14]).map(mismatch).collect();
        findings.push(Finding::new("hardware-simulated").because_of("boot-log-replay-mismatch"));
        assert_eq!(
            summary(&findings),
            "the boot event log does not lead to the quoted PCRs 0–9, 14 (1 consequence)"
        );
        let one = mismatch(3);
        assert_eq!(summary(std::slice::from_ref(&one)), sentence(&one));
        // Of other codes the first is told whole.
        let tiers = ["de-1", "de-2", "de-3"].map(|host| {
            Finding::new("tier-insufficient")
                .about(host)
                .expected("affirming")
                .observed("none")
        });
        assert_eq!(
            summary(&tiers),
            "host de-1 is none; policy demands affirming, and 2 more of this kind"
        );
    }

    #[test]
    fn consequences_are_counted_behind_their_cause() {
        let findings = [
            Finding::new("not-a-quote"),
            Finding::new("hardware-simulated").because_of("not-a-quote"),
        ];
        assert_eq!(
            summary(&findings),
            "the host answered with another statement than a quote (1 consequence)"
        );
    }
}
