//! Our own binaries, found beside the test's, and checked to be newer than their sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Each binary and the packages whose change makes it anew.
const BUILT_FROM: [(&str, &[&str]); 4] = [
    ("touchstone", &["attestor", "evidence", "policies"]),
    ("touchstone-agent", &["agent", "evidence"]),
    ("tpm-sim", &["tpm-sim", "agent", "evidence"]),
    ("tpm-sim-load", &["tpm-sim", "evidence"]),
];

/// The binary called `name`, fresh.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    // target/debug/deps/end_to_end-…
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join(name);
    assert!(
        is_fresh(&binary, name),
        "`{name}` is missing or older than its sources; run `cargo build --workspace --bins` first"
    );
    binary
}

/// The same, optimised, as it is installed: only where somebody built it.
#[must_use]
pub fn optimised(name: &str) -> Option<PathBuf> {
    let folder = path(name).parent()?.parent()?.join("release");
    Some(folder.join(name)).filter(|binary| is_fresh(binary, name))
}

fn is_fresh(binary: &Path, name: &str) -> bool {
    let (_, packages) = BUILT_FROM.iter().find(|(known, _)| *known == name).unwrap();
    let built = std::fs::metadata(binary).and_then(|file| file.modified());
    built.is_ok_and(|built| built >= newest_source(packages))
}

/// A command that dies with the test: the kernel kills it when the thread that started it ends, and a
/// thread of the test outlives all that it started.
#[must_use]
pub fn command(program: &Path) -> Command {
    let mut command = touchstone_tpm_sim::mortal::command(program);
    command.env("TSS2_LOG", "all+none");
    command
}

fn newest_source(packages: &[&str]) -> SystemTime {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    packages
        .iter()
        .map(|package| newest_below(&workspace.join(package)))
        .max()
        .unwrap()
}

/// Only what goes into a binary: Rust and SQL; tests do not.
fn newest_below(folder: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if !matches!(
                name.to_str(),
                Some("target" | "tests" | "fuzz" | "benches" | "examples")
            ) {
                newest = newest.max(newest_below(&path));
            }
        } else if matches!(
            path.extension().and_then(|e| e.to_str()),
            Some("rs" | "sql")
        ) {
            newest = newest.max(entry.metadata().unwrap().modified().unwrap());
        }
    }
    newest
}
