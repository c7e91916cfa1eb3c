//! The programs that `make deps` unpacked into the target folder; elsewhere than on Debian those in PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs;

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

/// A command for the tool called `name`, which finds the others too and dies with the test.
#[must_use]
pub fn command(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder()).chain(std::env::split_paths(&path));
    let folders = std::env::join_paths(folders).unwrap();
    let mut command = programs::command(&path_of(name));
    command.env("PATH", folders);
    command
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

/// Where the tool called `name` is.
#[must_use]
pub fn path_of(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder()).chain(std::env::split_paths(&path));
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("`{name}` is missing, and no test is skipped for it; run `make deps`")
    })
}

/// Where the tools are that were unpacked.
#[must_use]
pub fn folder() -> PathBuf {
    // target/debug/deps/end_to_end-…
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("tools/bin")
}

/// A file of this repository.
#[must_use]
pub fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}
