//! The same tests on both databases: `end_to_end` runs them on SQLite, `on_postgresql` on PostgreSQL. Which are not in
//! both, and which choose a database themselves, stands here with the reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use touchstone_tests::database::Database;

/// Modules that are in `end_to_end` alone.
const ELSEWHERE: [(&str, &str); 19] = [
    (
        "break_command",
        "what `tpm-sim break` says of an attestor is no matter of its database",
    ),
    ("charts", "render manifests, and start no attestor"),
    ("clusters", "only PostgreSQL has several processes"),
    (
        "container_tools",
        "what skopeo, podman and containerd do around a key provider is theirs",
    ),
    ("corpus", "reads logs and certificates, without an attestor"),
    (
        "daemon",
        "what an agent does is no matter of the attestor's database",
    ),
    ("databases", "compares both databases"),
    ("demo", "the demo chooses"),
    (
        "disks",
        "each database has disks, files and processes of its own kind",
    ),
    ("docs", "reads pages"),
    ("fleet", "looks at hosts, not at the attestor's database"),
    (
        "heads",
        "SQLite is a file that is exchanged, PostgreSQL goes back under a running attestor",
    ),
    ("inspect", "reads files, without an attestor"),
    (
        "kubernetes",
        "what API servers make of an answer is no matter of the attestor's database",
    ),
    (
        "log_key",
        "goes through both databases, and through replicas, by itself",
    ),
    ("load", "measures `tpm-sim-load`, not the database"),
    ("replicas", "only PostgreSQL has several attestors"),
    (
        "transit",
        "what an agent does with a data key is no matter of the attestor's database",
    ),
    (
        "unwrapping",
        "what an agent does with a release is no matter of the attestor's database",
    ),
];

/// Tests of both suites that take another database than the suite's.
const CHOOSE: [(&str, &str); 2] = [
    (
        "what_the_attestor_fails_to_do_costs_no_use",
        "a trigger that loses rows is written in PostgreSQL's language",
    ),
    (
        "a_key_that_is_revoked_at_one_replica_signs_nothing_at_another",
        "only PostgreSQL has several attestors",
    ),
];

const TESTS: [&str; 2] = ["#[test]", "#[tokio::test"];

/// What chooses a database.
const CHOICES: [&str; 3] = ["Database::Sqlite", "Database::postgres", "Database::both"];

#[test]
fn as_many_tests_run_on_each_database() {
    let [sqlite, postgresql] = ["main.rs", "on_postgresql.rs"].map(modules);
    let elsewhere = ELSEWHERE.map(|(module, _)| module.to_owned());
    let missing: BTreeSet<String> = sqlite.difference(&postgresql).cloned().collect();
    assert_eq!(missing, BTreeSet::from(elsewhere));
    assert!(postgresql.is_subset(&sqlite));
    // As many as there are in the sources of both are in the suite that runs now.
    let sources = postgresql.iter().flat_map(|module| sources(module));
    let texts: Vec<String> = sources.map(|path| read(&path)).collect();
    let count = |text: &String| TESTS.map(|head| text.matches(&format!("\n{head}")).count());
    let written: usize = texts.iter().flat_map(count).sum();
    let list = Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--format", "terse"])
        .output();
    let list = String::from_utf8(list.unwrap().stdout).unwrap();
    let shared = |line: &&str| {
        let module = line.split("::").next().unwrap_or_default();
        line.ends_with(": test") && postgresql.contains(module)
    };
    let there = list.lines().filter(shared).count();
    assert_eq!(there, written);
    // Those that choose say why.
    let choosing: BTreeSet<String> = texts.iter().flat_map(|text| choosing(text)).collect();
    let expected = CHOOSE.map(|(test, _)| test.to_owned());
    assert_eq!(choosing, BTreeSet::from(expected));
    let database = Database::under_test();
    eprintln!(
        "{}: {there} tests, as many as on the other database; {} of them choose one themselves",
        database.name(),
        CHOOSE.len()
    );
}

/// Names of the modules of a suite.
fn modules(root: &str) -> BTreeSet<String> {
    let text = read(&folder().join(root));
    let module = |line: &str| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned());
    text.lines().filter_map(module).collect()
}

/// The file of a module, and those below it.
fn sources(module: &str) -> Vec<PathBuf> {
    let mut files = vec![folder().join(format!("{module}.rs"))];
    let mut folders = vec![folder().join(module)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files
}

/// Functions of a file that choose a database.
fn choosing(text: &str) -> Vec<String> {
    let mut function = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("fn ") {
            rest.split('(')
                .next()
                .unwrap_or_default()
                .clone_into(&mut function);
        }
        // `Database::Sqlite =>` asks which one it is. This list of words chooses none.
        let words = line.replace("Database::Sqlite =", "");
        let chooses = CHOICES.iter().any(|choice| words.contains(choice));
        if chooses && !line.starts_with("const CHOICES") {
            found.push(function.clone());
        }
    }
    found
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("end_to_end")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
