//! The documents against the code: every code and every route, both ways.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use touchstone_attestor::http::{access::Access, routes};
use touchstone_policies::prose::sentences;

/// Where findings end and problems begin in `docs/findings.md`.
const PROBLEMS: &str = "\n## Problem codes\n";

#[test]
fn every_finding_has_its_sentence_and_its_line() {
    let sentences: BTreeSet<String> = sentences().map(|(code, _)| code.to_string()).collect();
    let mut made = BTreeSet::new();
    for package in ["evidence", "policies", "attestor"] {
        for source in sources(package) {
            made.extend(first_literals(&source, "Finding::new("));
            made.extend(codes_of_functions(&source, "fn finding("));
        }
    }
    assert!(made.len() > 20, "the sources are not read: {made:?}");
    let silent: Vec<_> = made.difference(&sentences).collect();
    assert!(
        silent.is_empty(),
        "no sentence in policies/src/prose: {silent:?}"
    );
    let (documented, _) = documented_codes();
    assert_same(
        "docs/findings.md",
        &documented,
        "policies/src/prose",
        &sentences,
    );
}

#[test]
fn every_problem_has_its_line() {
    let mut made = BTreeSet::new();
    for package in ["evidence", "attestor"] {
        for source in sources(package) {
            made.extend(codes_of_functions(&source, "fn code("));
        }
    }
    for source in sources("attestor") {
        for call in ["refused(", "denied("] {
            made.extend(first_literals(&source, call));
        }
    }
    let (_, documented) = documented_codes();
    assert_same("docs/findings.md", &documented, "the sources", &made);
}

#[test]
fn every_route_is_documented_with_its_access() {
    let documented: BTreeSet<String> = read("docs/api.md")
        .lines()
        .filter(|line| {
            ["| GET `", "| POST `", "| PUT `"]
                .iter()
                .any(|start| line.starts_with(start))
        })
        .map(|line| {
            line.split('|')
                .skip(1)
                .take(2)
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(", ")
        })
        .collect();
    let served: BTreeSet<String> = routes()
        .iter()
        .map(|route| format!("{} `{}`, {}", route.method, route.path, word(route.access)))
        .collect();
    assert_same("docs/api.md", &documented, "routes()", &served);
}

fn assert_same(here: &str, these: &BTreeSet<String>, there: &str, those: &BTreeSet<String>) {
    let missing: Vec<_> = those.difference(these).collect();
    let surplus: Vec<_> = these.difference(those).collect();
    assert!(
        missing.is_empty(),
        "only in {there}, not in {here}: {missing:?}"
    );
    assert!(
        surplus.is_empty(),
        "only in {here}, not in {there}: {surplus:?}"
    );
}

fn word(access: Access) -> &'static str {
    match access {
        Access::Anyone => "anyone",
        // Each role may do what those before it may.
        Access::Staff(roles) => roles[0].word(),
        Access::JoinToken => "join token",
        Access::Host => "host",
        Access::WebhookCertificate | Access::WebhookSecret => "webhook",
    }
}

/// The codes that stand first in a row of `docs/findings.md`: of findings, and of problems.
fn documented_codes() -> (BTreeSet<String>, BTreeSet<String>) {
    let text = read("docs/findings.md");
    let (findings, problems) = text.split_once(PROBLEMS).unwrap();
    (rows(findings), rows(problems))
}

fn rows(text: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for row in text.lines().filter_map(|line| line.strip_prefix("| `")) {
        let code = row.split('`').next().unwrap();
        assert!(is_code(code), "`{code}` is no code");
        assert!(codes.insert(code.to_owned()), "`{code}` has two lines");
    }
    codes
}

/// The first code among the arguments of each `call`, where it stands there literally.
fn first_literals(source: &str, call: &str) -> Vec<String> {
    source
        .match_indices(call)
        .filter_map(|(at, _)| {
            let arguments = &source[at + call.len()..];
            let codes = literal_codes(&arguments[..end_of_arguments(arguments)]);
            codes.into_iter().next()
        })
        .collect()
}

/// Every code in the body of each function whose head begins like `head`.
fn codes_of_functions(source: &str, head: &str) -> Vec<String> {
    source
        .match_indices(head)
        .flat_map(|(at, _)| {
            let body = &source[at..];
            // As rustfmt sets the end of a method.
            literal_codes(&body[..body.find("\n    }\n").unwrap_or(body.len())])
        })
        .collect()
}

fn end_of_arguments(text: &str) -> usize {
    let mut open = 1;
    for (at, character) in text.char_indices() {
        match character {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at;
        }
    }
    text.len()
}

fn literal_codes(text: &str) -> Vec<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    quoted
        .filter(|text| is_code(text))
        .map(str::to_owned)
        .collect()
}

fn is_code(text: &str) -> bool {
    let kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(kebab)
}

/// The Rust files below `folder`, each without the tests at its foot.
fn sources(folder: &str) -> Vec<String> {
    let mut folders = vec![workspace().join(folder)];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !["tests", "benches", "fuzz"].contains(&name) {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
                texts.push(code.to_owned());
            }
        }
    }
    texts
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
