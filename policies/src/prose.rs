//! Findings in words: one sentence each, for the person who has to act on it.

use std::collections::{BTreeMap, BTreeSet};

use touchstone_evidence::finding::Finding;

/// Every code that a verdict can carry, with its sentence. `{subject}`, `{expected}` and `{observed}`
/// stand for the finding's fields.
pub const SENTENCES: &[(&str, &str)] = &[
    (
        "boot-event-changed",
        "{subject} differs: expected {expected}, saw {observed}",
    ),
    ("boot-log-absent", "the host sent no boot event log"),
    (
        "boot-log-bank-digest-missing",
        "the boot event log leaves out an active PCR bank: {observed}",
    ),
    (
        "boot-log-bank-missing",
        "the boot event log has no SHA-256 digests",
    ),
    (
        "boot-log-bank-replay-mismatch",
        "the boot event log does not lead to the quoted value of {subject}: it leads to {expected}, the TPM says {observed}",
    ),
    (
        "boot-log-banks-disagree",
        "the PCR banks of the boot event log tell of different boots: {observed}",
    ),
    (
        "boot-log-banks-not-active",
        "the boot event log is of the PCR banks {observed}, while {expected} are active: a bank that the firmware did not extend proves nothing",
    ),
    (
        "boot-log-data-mismatch",
        "a Secure Boot variable of the boot event log is not the one that was measured: {observed}",
    ),
    (
        "boot-log-digest-mismatch",
        "the boot event log is not the one that the host announced",
    ),
    (
        "boot-log-digests-malformed",
        "the boot event log is malformed: {observed}",
    ),
    (
        "boot-log-event-after-exit",
        "the firmware's part of the boot event log goes on after boot services ended: {observed}",
    ),
    (
        "boot-log-event-after-separator",
        "the boot event log has an event of the firmware after it handed over: {observed}",
    ),
    (
        "boot-log-event-unproven",
        "an event whose text is measured is of other bytes in every active PCR bank: {observed}",
    ),
    (
        "boot-log-glued",
        "the boot event log is more than one log: {observed}",
    ),
    (
        "boot-log-pcr-unknown",
        "the boot event log is malformed: {observed}",
    ),
    (
        "boot-log-replay-mismatch",
        "the boot event log does not lead to the quoted value of {subject}: it leads to {expected}, the TPM says {observed}",
    ),
    (
        "boot-log-separator-doubled",
        "the boot event log hands over twice: {observed}",
    ),
    (
        "boot-log-separator-invalid",
        "the boot event log reports an error of the firmware, or is altered: {observed}",
    ),
    (
        "boot-log-separator-missing",
        "the boot event log does not say where the firmware handed over: {observed}",
    ),
    (
        "boot-log-separator-relabelled",
        "the boot event log hides where the firmware handed over: {observed}",
    ),
    (
        "boot-log-spec-id-malformed",
        "the boot event log is malformed: {observed}",
    ),
    (
        "boot-log-spec-id-missing",
        "the boot event log is of no known form: {observed}",
    ),
    (
        "boot-log-startup-locality",
        "the boot event log is malformed: {observed}",
    ),
    (
        "boot-log-too-large",
        "the boot event log is too large: {observed}",
    ),
    (
        "boot-log-too-many-events",
        "the boot event log is too long: {observed}",
    ),
    ("boot-log-truncated", "the boot event log is cut off"),
    (
        "clock-behind",
        "the attestor's clock is behind the last result of {subject}; set it right",
    ),
    (
        "findings-omitted",
        "{observed} more findings are not listed",
    ),
    (
        "firmware-version-changed",
        "the TPM's firmware version changed from {expected} to {observed}; accept it with `touchstone host accept-firmware` if that was intended",
    ),
    ("hardware-simulated", "the TPM is a simulator"),
    (
        "host-policy-absent",
        "no HostPolicy is for this host; write one that names it",
    ),
    (
        "host-policy-ambiguous",
        "more than one HostPolicy is for this host: {observed}",
    ),
    (
        "host-reenrolled",
        "{subject} was enrolled anew with other keys and has not attested with them yet",
    ),
    (
        "host-removed",
        "the machine of {subject} was taken out of the inventory",
    ),
    (
        "host-replaced",
        "{subject} got another TPM, which has not attested yet",
    ),
    ("host-retired", "{subject} is out of service"),
    (
        "host-unappraised",
        "no round of this host was appraised; see `touchstone-agent status` on it",
    ),
    (
        "host-unknown",
        "no attested host stands behind this node; enrol it and map the node to it",
    ),
    (
        "ima-bank-mismatch",
        "the runtime list was proven in one PCR bank and continued in another",
    ),
    (
        "ima-boot-aggregate-mismatch",
        "the runtime list belongs to another boot: its boot_aggregate is {observed}, the quoted PCRs make {expected}",
    ),
    (
        "ima-boot-aggregate-missing",
        "the runtime list does not begin with a boot_aggregate",
    ),
    (
        "ima-digest-algorithm-unknown",
        "the runtime list names a digest that is not known: {observed}",
    ),
    (
        "ima-list-absent",
        "the host's kernel keeps no runtime list: boot it with an `ima_policy`",
    ),
    (
        "ima-list-shortened",
        "the runtime list is shorter than it was in this boot: it ends at byte {observed}, {expected} were proven",
    ),
    (
        "ima-list-too-large",
        "the runtime list is too large: {observed}",
    ),
    (
        "ima-list-too-many-entries",
        "the runtime list is too long: {observed}",
    ),
    (
        "ima-list-truncated",
        "the runtime list is cut off: {observed}",
    ),
    (
        "ima-list-unfinished",
        "the runtime list is larger than one message, and not all of it has come yet: {observed}",
    ),
    (
        "ima-list-withheld",
        "the host's kernel measured into {subject}, and the host keeps its runtime list back",
    ),
    (
        "ima-nothing-measured",
        "PCR 10 is untouched: the kernel measures nothing at run time",
    ),
    (
        "ima-offset-ahead",
        "the runtime list leaves out entries: it continues at byte {observed}, the proven part ends at {expected}",
    ),
    (
        "ima-offset-behind",
        "the runtime list repeats entries: it continues at byte {observed}, the proven part ends at {expected}",
    ),
    (
        "ima-offset-other-boot",
        "the runtime list continues one of another boot",
    ),
    (
        "ima-part-too-large",
        "the host sent more of its runtime list than one message may carry: {observed}",
    ),
    (
        "ima-part-too-small",
        "the host puts off the end of its runtime list: {observed}",
    ),
    (
        "ima-path-malformed",
        "the runtime list holds a malformed path: {observed}",
    ),
    (
        "ima-pcr-unexpected",
        "the runtime list holds an entry of another PCR: {observed}",
    ),
    (
        "ima-pcr-unquoted",
        "the quote lacks a PCR that the runtime list needs: {observed}",
    ),
    (
        "ima-replay-mismatch",
        "the runtime list does not lead to the quoted PCR 10",
    ),
    (
        "ima-template-data-malformed",
        "an entry of the runtime list is malformed: {observed}",
    ),
    (
        "ima-template-data-too-large",
        "an entry of the runtime list is too large: {observed}",
    ),
    (
        "ima-template-hash-mismatch",
        "an entry of the runtime list does not hash to what it says: {observed}",
    ),
    (
        "ima-template-relabelled",
        "an entry of the runtime list bears another template's name: {observed}",
    ),
    (
        "ima-template-unknown",
        "the runtime list holds an unknown template: {observed}",
    ),
    (
        "ima-violations",
        "{observed} files could change while the kernel measured them; policy refuses such violations",
    ),
    (
        "kernel-command-line-changed",
        "kernel command line changed: expected `{expected}`, saw `{observed}`",
    ),
    (
        "lease-revoked",
        "the key {subject} was taken back from this host; an officer gives it back with `touchstone lease restore`",
    ),
    (
        "location-absent",
        "the host carries no location tag; issue one with `touchstone location tag`",
    ),
    (
        "location-authority-revoked",
        "the authority that issued the location tag was revoked",
    ),
    (
        "location-authority-unknown",
        "the location tag names an authority that is not believed",
    ),
    (
        "location-index-mismatch",
        "the TPM certified another index than the location index",
    ),
    (
        "location-not-authentic",
        "the location certification is not this round's statement of this TPM ({observed})",
    ),
    (
        "location-not-certified",
        "the location statement is not a certification of an NV index",
    ),
    (
        "location-signature-invalid",
        "the location tag's signature does not verify",
    ),
    ("location-tag-expired", "the location tag has expired"),
    (
        "location-tag-malformed",
        "the location index holds no tag: {observed}",
    ),
    (
        "location-tag-not-yet-valid",
        "the location tag is not yet valid",
    ),
    (
        "location-tag-other-host",
        "the location tag is another machine's",
    ),
    ("location-tag-revoked", "the location tag was taken back"),
    (
        "location-tag-superseded",
        "the location tag has serial {observed}; the current one is {expected}",
    ),
    (
        "location-tag-version-unknown",
        "the location index does not begin as a tag does: {observed}",
    ),
    (
        "log-resumed",
        "the attestor's database was restored, so nothing is known of the host until its next round",
    ),
    (
        "node-unmapped",
        "the node {subject} is mapped to no host; map it with `touchstone node map`",
    ),
    (
        "not-a-quote",
        "the host answered with another statement than a quote",
    ),
    (
        "pcr-bank-capped",
        "the firmware closed the SHA-256 bank without measuring anything into it",
    ),
    (
        "pcr-bank-empty",
        "the firmware measured nothing into the SHA-256 bank",
    ),
    (
        "pcr-bank-inactive",
        "the TPM's SHA-256 bank is not active; switch it on in the firmware",
    ),
    (
        "pcr-bank-mismatch",
        "the host quoted the banks `{observed}` instead of {expected} alone",
    ),
    (
        "pcr-bank-partial",
        "an active PCR bank is not whole: {observed}",
    ),
    (
        "pcr-bank-unknown",
        "nothing can be said of an active PCR bank: {observed}; switch it off in the firmware",
    ),
    (
        "pcr-banks-absent",
        "the host did not show which PCR banks are active",
    ),
    (
        "pcr-banks-audit-mismatch",
        "the list of PCR banks is not the one that the TPM signed",
    ),
    (
        "pcr-banks-digest-mismatch",
        "the reported values of all PCR banks are not those that were quoted",
    ),
    (
        "pcr-banks-malformed",
        "the TPM signed something else than a list of its PCR banks: {observed}",
    ),
    (
        "pcr-banks-not-audited",
        "the host answered with something else than an audit of the PCR banks",
    ),
    (
        "pcr-banks-not-authentic",
        "the {subject} is not of this TPM for this round: {observed}",
    ),
    (
        "pcr-banks-not-quoted",
        "the host answered with something else than a quote of all PCR banks",
    ),
    (
        "pcr-banks-selection-mismatch",
        "the host did not quote the boot PCRs of every active bank",
    ),
    (
        "pcr-banks-values-incomplete",
        "the reported values are not those of all active PCR banks",
    ),
    (
        "pcr-digest-mismatch",
        "the PCR values that the host reports are not those that its TPM quoted",
    ),
    (
        "pcr-selection-mismatch",
        "the quote covers other PCRs than were asked for",
    ),
    (
        "pcr-value-unknown",
        "{subject} has no known-good value: expected {expected}, saw {observed}",
    ),
    (
        "pcr-values-incomplete",
        "the reported PCR values are not exactly those asked for",
    ),
    (
        "place-not-proven-yet",
        "{subject} has a new tag and has not proved its place yet; its next round will",
    ),
    (
        "place-unknown",
        "{subject} has no proven place, and policy demands one",
    ),
    (
        "pod-unknown",
        "this pod was not reviewed here when it was created, so its binding cannot be judged; create it again",
    ),
    (
        "reference-values-absent",
        "none of the policy's reference values is active",
    ),
    (
        "region-mismatch",
        "{subject} stands in {observed}, outside the region `{expected}`",
    ),
    (
        "release-key-exportable",
        "the release key may leave the TPM or was made elsewhere: {observed}",
    ),
    (
        "release-key-hierarchy-mismatch",
        "the release key is no primary of the NULL hierarchy, so it may outlive the boot",
    ),
    (
        "release-key-malformed",
        "the release key is malformed: {observed}",
    ),
    (
        "release-key-mismatch",
        "the key that is certified is not the release key",
    ),
    (
        "release-key-not-authentic",
        "the certification of the release key is not of this TPM and this round ({observed})",
    ),
    (
        "release-key-not-certified",
        "what is signed for the release key certifies no key",
    ),
    (
        "release-key-template-mismatch",
        "the release key does not follow its template: {observed}",
    ),
    (
        "result-expired",
        "the last result of {subject} has expired: the host has not attested lately",
    ),
    (
        "result-too-old",
        "the last result of {subject} is {observed} old; policy allows {expected}",
    ),
    (
        "review-unsupported",
        "the webhook does not judge {observed}; send it CREATE and UPDATE of pods, and CREATE of pods/binding and bindings",
    ),
    (
        "review-without-object",
        "the review holds nothing that could be judged",
    ),
    ("review-without-uid", "the review names no uid of the pod"),
    (
        "round-clock-fell",
        "the {subject} was made before the quote",
    ),
    (
        "round-firmware-differs",
        "the {subject} and the quote are of different firmware of the TPM",
    ),
    (
        "round-reset-count-differs",
        "the {subject} and the quote are of different boots (resetCount)",
    ),
    (
        "round-restart-count-differs",
        "the {subject} and the quote are of different boots (restartCount)",
    ),
    (
        "runtime-not-judged",
        "the runtime list is proven to be complete, but nothing judges its entries yet",
    ),
    (
        "secure-boot-off",
        "Secure Boot is {observed}; policy demands that it is {expected}",
    ),
    (
        "standing-unconfirmed",
        "the attestor does not know whether what it holds is still true, since its database does not answer; look at its log",
    ),
    (
        "startup-locality-changed",
        "the TPM was started from locality {observed}, and {expected} is known good",
    ),
    (
        "tier-insufficient",
        "host {subject} is {observed}; policy demands {expected}",
    ),
    (
        "tpm-clock-drift",
        "the TPM's clock advanced by {observed} where {expected} passed",
    ),
    (
        "tpm-cloned",
        "two TPMs hold this host's key, or its state was set back: {observed} after {expected}",
    ),
    (
        "tpm-firmware-known-bad",
        "the TPM ({subject}) runs firmware with a published flaw: {observed}; mended by {expected}",
    ),
    (
        "tpm-model-unknown",
        "the TPM's make was not kept when the host was enrolled; enrol it anew",
    ),
    (
        "workload-policy-unknown",
        "the WorkloadPolicy `{subject}`, which the key is for, is not in force; apply it again, or encrypt with a key of another",
    ),
];

/// Sentences where nothing was expected that `{expected}` could stand for.
const WITHOUT_EXPECTED: &[(&str, &str)] = &[(
    "location-tag-superseded",
    "the location tag has serial {observed}, and none is current; issue a new one with `touchstone location tag`",
)];

/// The sentence of `finding`; for an unknown code, the code and what is known.
#[must_use]
pub fn sentence(finding: &Finding) -> String {
    let expected = finding.expected.as_deref().unwrap_or("nothing");
    let observed = finding.observed.as_deref().unwrap_or("nothing");
    let bare = WITHOUT_EXPECTED
        .iter()
        .filter(|_| finding.expected.is_none());
    let template = bare
        .chain(SENTENCES)
        .find(|(code, _)| *code == finding.code)
        .map_or(
            "{code} {subject}: expected {expected}, saw {observed}",
            |(_, sentence)| sentence,
        );
    fill(
        template,
        &[
            ("{code}", &finding.code),
            ("{subject}", &finding.subject),
            ("{expected}", expected),
            ("{observed}", observed),
        ],
    )
}

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

/// Fills each field once, from the left, so that what a field holds is never taken for a field.
fn fill(template: &str, fields: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        match fields.iter().find(|(name, _)| from.starts_with(name)) {
            Some((name, value)) => {
                out.push_str(value);
                rest = from.strip_prefix(name).unwrap_or_default();
            }
            None => {
                out.push('{');
                rest = from.strip_prefix('{').unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_sorted_and_filled_once() {
        assert!(SENTENCES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let finding = Finding::new("tier-insufficient")
            .about("{observed}")
            .expected("affirming")
            .observed("none");
        assert_eq!(
            sentence(&finding),
            "host {observed} is none; policy demands affirming"
        );
    }

    #[test]
    fn a_tag_is_told_to_be_issued_where_none_is_current() {
        let old = Finding::new("location-tag-superseded").observed(3);
        let said = sentence(&old);
        assert!(said.contains("issue a new one"), "{said}");
        assert!(sentence(&old.expected(4)).contains("the current one is 4"));
    }

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
