//! The attack catalogue, run: each row of `attacks.toml` is one lie, told over HTTP on real swtpm or
//! shown by a test at a lower seam, with the code that must come back and no other.

mod enrolment;
mod logs;
mod places;
mod quotes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use touchstone_evidence::wire::RoundAnswer;
use touchstone_tests::liar::codes;

/// Codes that say only that something does not parse: two different lies must not hide behind one.
const CATCH_ALL: [&str; 6] = [
    "attest-malformed",
    "signature-malformed",
    "key-malformed",
    "ek-certificate-malformed",
    "boot-log-truncated",
    "malformed-body",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    attack: Vec<Attack>,
}

/// One lie. `id` is that of the catalogue, with a letter where a line holds several.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    id: String,
    lie: String,
    /// `http`: told here. Else the crate whose test `test` shows it.
    seam: String,
    expected: String,
    test: Option<String>,
}

fn catalogue() -> Vec<Attack> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks.toml");
    let text = std::fs::read_to_string(file).unwrap();
    toml::from_str::<Catalogue>(&text).unwrap().attack
}

/// What became of each lie that one group told: id → code.
type Told = BTreeMap<&'static str, String>;

/// The code of a refusal, or of the first finding of a verdict; `none` when nothing was found.
fn code(outcome: Result<RoundAnswer, String>) -> String {
    match outcome {
        Ok(answer) => codes(&answer).first().unwrap_or(&"none").to_string(),
        Err(refusal) => refusal,
    }
}

fn compare(told: &Told) {
    let rows = catalogue();
    for (id, code) in told {
        let row = rows.iter().find(|row| row.id == *id && row.seam == "http");
        let row = row.unwrap_or_else(|| panic!("{id} is told and has no row in attacks.toml"));
        assert_eq!(*code, row.expected, "{id}: {}", row.lie);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_quotes_get_their_own_answers() {
    compare(&quotes::tell().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_endorsements_get_their_own_answers() {
    compare(&enrolment::tell().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_boot_logs_get_their_own_answers() {
    compare(&logs::tell().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_places_get_their_own_answers() {
    compare(&places::tell().await);
}

#[test]
fn every_row_has_its_test_and_no_catch_all_hides_two_lies() {
    let rows = catalogue();
    let told: BTreeSet<&str> = [quotes::TOLD, enrolment::TOLD, logs::TOLD, places::TOLD]
        .concat()
        .into_iter()
        .collect();
    let mut ids = BTreeSet::new();
    let mut behind: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in &rows {
        assert!(ids.insert(&row.id), "{} is there twice", row.id);
        match (row.seam.as_str(), &row.test) {
            ("http", None) => assert!(
                told.contains(row.id.as_str()),
                "{} is told by no test",
                row.id
            ),
            (seam, Some(test)) => assert!(exists(seam, test), "{}: no `{test}` in {seam}", row.id),
            (seam, None) => panic!("{}: the seam {seam} needs the name of its test", row.id),
        }
        if CATCH_ALL.contains(&row.expected.as_str()) {
            let line = row.id.trim_end_matches(|c: char| c.is_ascii_lowercase());
            behind.entry(&row.expected).or_default().insert(line);
        }
    }
    for (code, lines) in behind {
        assert!(lines.len() == 1, "`{code}` hides the lies {lines:?}");
    }
    eprintln!("{} rows, {} of them told over HTTP", rows.len(), told.len());
}

/// Whether a test function of this name is in the crate's sources.
fn exists(seam: &str, test: &str) -> bool {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> = vec![crates.join(seam)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                if text.contains(&format!("fn {test}()")) {
                    return true;
                }
            }
        }
    }
    false
}
