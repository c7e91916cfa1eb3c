//! A demo that is left running, for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A demo that is kept, in a registry of its own: what it leaves ends with this value, and no other demo does.
pub(super) struct Kept {
    runtime: tempfile::TempDir,
}

impl Kept {
    /// None yet.
    pub(super) fn nothing() -> Self {
        Self {
            runtime: tempfile::tempdir().unwrap(),
        }
    }

    /// The file that says where the demo is: its pid and its folder.
    pub(super) fn entry(&self) -> Value {
        let entries = self.runtime.path().join("touchstone-demos");
        let entry = fs::read_dir(entries).unwrap().next().unwrap().unwrap();
        serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap()
    }

    /// Runs a line as somebody would type it.
    pub(super) fn shell(&self, line: &str) -> Output {
        let mut shell = Command::new("bash");
        let shell = shell.args(["-euc", line]).current_dir(root());
        // Of a `make` that runs the tests.
        for inherited in ["MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL"] {
            shell.env_remove(inherited);
        }
        shell
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .output()
            .unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let ended = self.shell("make demo-stop");
        assert!(
            ended.status.success() || std::thread::panicking(),
            "{ended:?}"
        );
    }
}

/// The repository.
pub(super) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.to_owned()
}

/// What it printed, on both.
pub(super) fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}
