//! The corpus of real machines and of our own boots, where `TOUCHSTONE_CORPUS` names it: every file
//! read, with the result that its description expects. A file that nothing reads fails the test.

mod boot;
mod machines;
mod runtime;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use touchstone_tests::programs;

/// The folders whose files must all be read.
const FOLDERS: [&str; 3] = ["boot", "ima", "vm"];

#[test]
fn every_file_has_the_result_that_its_description_expects() {
    let Some(root) = std::env::var_os("TOUCHSTONE_CORPUS") else {
        eprintln!("SKIPPED: TOUCHSTONE_CORPUS is not set, so no file of a real machine was read");
        return;
    };
    let mut corpus = Corpus {
        root: root.into(),
        read: BTreeSet::new(),
    };
    boot::logs_replay_as_recorded(&mut corpus);
    boot::odd_logs_are_read_to_the_end(&mut corpus);
    boot::recorded_quotes_are_over_the_recorded_values(&mut corpus);
    boot::one_change_of_a_machine_is_told_exactly(&mut corpus);
    runtime::a_server_replays_in_both_banks(&mut corpus);
    machines::our_boots_verify_wholly(&mut corpus);
    machines::other_ways_to_boot_look_right(&mut corpus);
    machines::tampering_is_told_exactly(&mut corpus);

    let mut there = BTreeSet::new();
    for folder in FOLDERS {
        files_below(&corpus.root.join(folder), &mut there);
    }
    let unread: Vec<_> = there.difference(&corpus.read).collect();
    assert!(unread.is_empty(), "nothing reads {unread:?}");
    eprintln!("{} files of the corpus read, none skipped", there.len());
}

/// The folder, and what was read of it.
struct Corpus {
    root: PathBuf,
    read: BTreeSet<PathBuf>,
}

impl Corpus {
    /// A file that the caller reads, or has a program read.
    fn path(&mut self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        assert!(path.is_file(), "the corpus has no {name}");
        self.read.insert(path.clone());
        path
    }

    fn bytes(&mut self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn text(&mut self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    fn json(&mut self, name: &str) -> Value {
        serde_json::from_slice(&self.bytes(name)).unwrap()
    }

    /// `touchstone inspect …` of `line`, in which words with a slash are files of the corpus: its exit
    /// code, and the JSON.
    fn inspect(&mut self, line: &str) -> (i32, Value) {
        let words = line
            .split_whitespace()
            .map(|word| match word.contains('/') {
                true => self.path(word).into_os_string(),
                false => word.into(),
            });
        let words: Vec<_> = words.collect();
        let output = programs::command(&programs::path("touchstone"))
            .arg("inspect")
            .args(words)
            .arg("--json")
            .output()
            .unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code().unwrap(), json)
    }
}

fn files_below(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, found),
            false => {
                found.insert(path);
            }
        }
    }
}

/// The PCR values of a description, as bytes.
fn pcr(json: &Value, bank: &str, pcr: u8) -> Option<Vec<u8>> {
    let value = json["pcrs"][bank][pcr.to_string()].as_str()?;
    Some(hex::decode(value).unwrap())
}
