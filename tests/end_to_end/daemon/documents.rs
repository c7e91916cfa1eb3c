//! `docs/agent.md` and the service's unit against the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use touchstone_agent::Trouble;

const ROWS: &str = "\n## What can happen\n";
const CODES: &str = "\n## Exit codes\n";

#[test]
fn every_exit_code_is_documented_with_its_meaning() {
    let table = section(CODES);
    let documented: BTreeSet<_> = rows(&table)
        .iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let done = (
        "0".to_owned(),
        "done, or stopped by SIGTERM or SIGINT".to_owned(),
    );
    let codes = Trouble::ALL.map(|one| (one.exit_code().to_string(), one.meaning().to_owned()));
    let expected: BTreeSet<_> = codes.into_iter().chain([done]).collect();
    assert_eq!(documented, expected);
}

#[test]
fn every_exit_code_has_something_that_leads_to_it() {
    let happenings = rows(&section(ROWS));
    for trouble in Trouble::ALL {
        let code = format!("{},", trouble.exit_code());
        let led = happenings.iter().any(|row| row[1].starts_with(&code));
        assert!(led, "nothing leads to {code}");
    }
}

#[test]
fn every_row_has_its_test() {
    let tests: BTreeSet<String> = ["attestor", "state", "tpm"]
        .iter()
        .flat_map(|file| tests_in(&format!("tests/end_to_end/daemon/{file}.rs")))
        .collect();
    let table = section(ROWS);
    let named: BTreeSet<String> = rows(&table)
        .iter()
        .map(|row| row[0].to_lowercase().replace(' ', "_"))
        .collect();
    assert!(named.len() > 15, "the table is not read: {named:?}");
    assert_eq!(named, tests);
}

#[test]
fn systemd_starts_again_what_a_new_start_may_mend() {
    let unit = read("deploy/systemd/touchstone-agent.service");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
    let ends = Trouble::ALL.into_iter().filter(|one| one.ends_the_daemon());
    let codes: Vec<String> = ends.map(|one| one.exit_code().to_string()).collect();
    assert_eq!(line.unwrap(), codes.join(" "));
}

/// The text from a heading up to the next one.
fn section(heading: &str) -> String {
    let page = read("docs/agent.md");
    let (_, text) = page.split_once(heading).unwrap();
    text.split("\n#").next().unwrap().to_owned()
}

/// The cells of each row of a table, without its head.
fn rows(table: &str) -> Vec<Vec<String>> {
    let lines = table.lines().filter_map(|line| line.strip_prefix("| "));
    lines
        .skip(1)
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn tests_in(path: &str) -> Vec<String> {
    let source = read(path);
    let mut lines = source.lines();
    let mut tests = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("#[tokio::test") {
            let head = lines.next().unwrap().strip_prefix("async fn ").unwrap();
            tests.push(head.split('(').next().unwrap().to_owned());
        }
    }
    tests
}

fn read(path: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(workspace.join(path)).unwrap()
}
