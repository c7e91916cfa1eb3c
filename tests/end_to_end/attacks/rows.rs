//! The catalogue as a whole: every row has a test that sees its code, and no code hides two lies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use touchstone_tpm_sim::lies::{Group, catalogue};

use super::operated;

/// Codes that say only that something does not parse: each is the answer to one lie at most.
const CATCH_ALL: [&str; 17] = [
    "attest-malformed",
    "boot-log-digests-malformed",
    "boot-log-spec-id-malformed",
    "boot-log-truncated",
    "ek-certificate-malformed",
    "ek-public-malformed",
    "ek-tpm-name-malformed",
    "ima-list-truncated",
    "ima-template-data-malformed",
    "internal",
    "key-malformed",
    "location-tag-malformed",
    "malformed-body",
    "malformed-path",
    "platform-certificate-malformed",
    "release-key-malformed",
    "signature-malformed",
];

/// Codes that answer lies of several lines of the catalogue, and why that is right. Any other code
/// belongs to one line.
const SHARED: [(&str, &[&str], &str); 25] = [
    (
        "node-unmapped",
        &["W6", "W7"],
        "behind a node that nobody proved stands no host, whatever the pod carries",
    ),
    (
        "image-by-tag",
        &["W3", "W5"],
        "an image is named alike when it comes and when it is changed",
    ),
    (
        "image-not-encrypted",
        &["W5", "W7"],
        "a plain layer is one, in whichever container",
    ),
    (
        "challenge-replayed",
        &["Q4", "S7"],
        "replicas that commit at once are where it is told",
    ),
    (
        "result-expired",
        &["K1", "S3"],
        "a verdict that is over is none, for a pod and for a key",
    ),
    (
        "region-mismatch",
        &["G4", "K1", "W2", "W8"],
        "a place is judged alike for a pod and for a key, whoever made or bound the pod",
    ),
    (
        "tier-insufficient",
        &["K1", "W1", "W8"],
        "a host is judged alike for a key and for a pod, whichever way the pod comes to it",
    ),
    (
        "healed",
        &["W8", "W15"],
        "without the attestor, whatever else is down, the cluster heals and the pod waits",
    ),
    (
        "log-diverged",
        &["S5", "S7"],
        "a failover is how a database goes back under a running attestor",
    ),
    (
        "host-retired",
        &["E7", "E8", "K1"],
        "out of service is out of service, whoever vouches for the machine",
    ),
    (
        "unauthenticated",
        &["E7", "Q15", "S4", "W11"],
        "who does not show who it is learns nothing more",
    ),
    (
        "host-enrolled-with-other-keys",
        &["E4", "E8", "Q8"],
        "a sibling of an enrolled EK, and a TPM that was cleared, is the same identity with other keys",
    ),
    (
        "signature-absent",
        &["Q1", "Q15"],
        "junk is known by having no signature, whoever sends it",
    ),
    (
        "signature-invalid",
        &["Q1", "Q9", "Q10", "Q11", "Q12"],
        "the enrolled key did not sign these bytes, and nobody can say who altered what",
    ),
    (
        "qualifying-data-mismatch",
        &["Q3", "Q12", "G2"],
        "one digest binds nonce, boot and tag: which of them is another cannot be told",
    ),
    (
        "pcr-digest-mismatch",
        &["Q5", "Q6"],
        "the digest is over the values in order: exchanged ones are wrong ones",
    ),
    (
        "boot-log-required",
        &["Q8", "L7"],
        "what is missing is the log, after a reboot as for an unknown digest",
    ),
    (
        "quote-not-newer",
        &["Q8", "Q14", "S7"],
        "the same rule: counters and clock must grow",
    ),
    (
        "key-template-mismatch",
        &["Q10", "E2"],
        "AK and EK each have a template; the finding names the key",
    ),
    (
        "activation-failed",
        &["Q11", "E3"],
        "the secret did not come back, whatever the TPM lacks",
    ),
    (
        "location-not-authentic",
        &["G2", "G3"],
        "the finding carries the reason as a code of its own",
    ),
    (
        "location-absent",
        &["G1", "G2"],
        "a TPM that never had a tag and one whose tag was removed look alike",
    ),
    (
        "boot-log-separator-relabelled",
        &["L1", "L2"],
        "changing its type is how a separator is hidden",
    ),
    (
        "ima-replay-mismatch",
        &["L6", "L7"],
        "no prefix of the list leads to the quoted value",
    ),
    (
        "boot-log-replay-mismatch",
        &["L1", "L3"],
        "the digests do not lead to the quoted values",
    ),
];

/// What a row expects where the lie is none, or is harmless.
const NOTHING: &str = "none";

#[test]
fn every_row_has_a_test_that_sees_its_code() {
    let rows = catalogue().unwrap();
    let groups = Group::ALL.map(Group::ids).concat();
    let told: BTreeSet<&str> = groups
        .into_iter()
        .chain(operated::TOLD.iter().copied())
        .collect();
    let mut ids = BTreeSet::new();
    for row in &rows {
        let (id, code) = (row.id.as_str(), row.expected.as_str());
        assert!(ids.insert(id), "{id} is there twice");
        match (row.seam.as_str(), &row.test) {
            ("http", None) => assert!(told.contains(id), "{id} is told by no test"),
            (seam, Some(test)) => {
                let body = body_of(seam, test);
                let body = body.unwrap_or_else(|| panic!("{id}: no `{test}` in {seam}"));
                let seen = body.contains(&format!("\"{code}\""));
                assert!(seen, "{id}: `{test}` never asks for `{code}`");
            }
            (seam, None) => panic!("{id}: the seam {seam} needs the name of its test"),
        }
    }
    eprintln!("{} rows, {} of them told over HTTP", rows.len(), told.len());
}

/// Lines of the catalogue that concern evidence, enrolment, place, the service and admission: each has a row.
#[test]
fn every_line_has_a_row() {
    let numbered = |letter: char, numbers: &[u8]| -> Vec<String> {
        numbers
            .iter()
            .map(|number| format!("{letter}{number}"))
            .collect()
    };
    let lines: BTreeSet<String> = [
        numbered('Q', &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
        numbered('E', &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        numbered('L', &[1, 2, 3, 6, 7, 8]),
        numbered('G', &[1, 2, 3, 4, 7]),
        numbered('K', &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        numbered('S', &[1, 2, 3, 5, 7, 8, 9]),
        numbered('W', &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
    ]
    .into_iter()
    .flatten()
    .collect();
    let rows = catalogue().unwrap();
    let covered: BTreeSet<String> = rows.iter().map(|row| line_of(&row.id)).collect();
    let missing: Vec<_> = lines.difference(&covered).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// `Q1` of `Q1a`.
fn line_of(id: &str) -> String {
    id.trim_end_matches(|letter: char| letter.is_ascii_lowercase())
        .to_owned()
}

#[test]
fn no_code_hides_two_lies() {
    let rows = catalogue().unwrap();
    let mut lies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in &rows {
        lies.entry(&row.expected).or_default().push(&row.id);
    }
    lies.remove(NOTHING);
    let mut shared = BTreeMap::new();
    for (code, ids) in &lies {
        let one = !CATCH_ALL.contains(code) || ids.len() == 1;
        assert!(one, "`{code}` says too little for the lies {ids:?}");
        let lines: BTreeSet<String> = ids.iter().map(|id| line_of(id)).collect();
        if lines.len() > 1 {
            shared.insert(*code, lines);
        }
    }
    let of_line = |line: &&str| (*line).to_owned();
    let expected = SHARED.map(|(code, lines, _)| (code, lines.iter().map(of_line).collect()));
    assert_eq!(
        shared,
        BTreeMap::from(expected),
        "codes of lies of several lines"
    );
}

/// The body of the test of this name in the crate's sources, or of the scene of one, comments left out.
fn body_of(seam: &str, test: &str) -> Option<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> = vec![crates.join(seam)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                if let Some(body) = function(&text, test) {
                    return Some(body);
                }
            }
        }
    }
    None
}

/// From the head of a function to the brace that ends it, which rustfmt sets under the head.
fn function(text: &str, name: &str) -> Option<String> {
    let head = format!("fn {name}(");
    let mut lines = text.lines().skip_while(|line| {
        let line = line.trim_start().trim_start_matches("pub(super) ");
        let line = line.trim_start_matches("async ");
        !line.starts_with(&head)
    });
    let first = lines.next()?;
    let indent: String = first.chars().take_while(|letter| *letter == ' ').collect();
    let end = format!("{indent}}}");
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let body = lines.take_while(|line| **line != end).filter(code);
    Some(body.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_body_is_that_of_its_function() {
    let text = "mod a {\n    fn one() {\n        \"x\"\n        // \"y\"\n    }\n    pub(super) async fn two(a: u8) {\n        \"z\"\n    }\n}\n";
    assert_eq!(function(text, "one").unwrap(), "        \"x\"");
    assert_eq!(function(text, "two").unwrap(), "        \"z\"");
    assert_eq!(function(text, "three"), None);
}
