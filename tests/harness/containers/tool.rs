//! Runs the tools, and keeps what they said.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use touchstone_tpm_sim::containers::tool;

/// What a program said, on both of its streams, and whether it went well.
pub struct Said {
    good: bool,
    text: String,
}

impl Said {
    /// Whether it went well.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.good
    }

    /// It went well: what it said.
    #[must_use]
    pub fn good(self) -> String {
        assert!(self.good, "{}", self.text);
        self.text
    }

    /// It failed: what it said.
    #[must_use]
    pub fn refused(self) -> String {
        assert!(!self.good, "this was to fail: {}", self.text);
        self.text
    }
}

/// A command for the tool called `name`, which finds the others too and dies with the test. No test is skipped for one
/// that is missing.
#[must_use]
pub fn command(name: &str) -> Command {
    tool::command(name).unwrap()
}

/// Where it is.
#[must_use]
pub fn path_of(name: &str) -> PathBuf {
    tool::path_of(name).unwrap()
}

/// Runs a command to its end.
#[must_use]
pub fn run(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        good: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// A file of this repository.
#[must_use]
pub fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}
