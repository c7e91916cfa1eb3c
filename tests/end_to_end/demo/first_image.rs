//! README, "Encrypt your first image": its commands, run as they are written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use touchstone_tests::containers::rights;

/// A demo that is kept, in a registry of its own: what it leaves ends with this value, and no other demo does.
struct Kept {
    runtime: tempfile::TempDir,
}

impl Kept {
    fn shell(&self, line: &str) -> Output {
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

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.to_owned()
}

/// The lines of the first block of shell in this section of README.
fn commands(section: &str) -> Vec<String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = readme.split_once(&format!("\n## {section}\n")).unwrap();
    let (_, block) = section.split_once("\n```sh\n").unwrap();
    let (block, _) = block.split_once("\n```\n").unwrap();
    block.lines().map(str::to_owned).collect()
}

#[test]
fn the_five_commands_of_the_readme_encrypt_an_image_that_opens_in_germany_alone() {
    if !rights::allow_containers() {
        return;
    }
    let kept = Kept {
        runtime: tempfile::tempdir().unwrap(),
    };
    let commands = commands("Encrypt your first image");
    assert_eq!(commands.len(), 5);
    let (refused, good) = commands.split_last().unwrap();
    let said: Vec<String> = good
        .iter()
        .map(|line| {
            let output = kept.shell(line);
            let said = text(&output);
            assert!(output.status.success(), "{line}: {said}");
            said
        })
        .collect();
    assert!(said[3].contains("hello from your first encrypted image"));
    let output = kept.shell(refused);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("us-1 stands in US"), "{said}");
    assert!(said.contains("outside the region `germany`"), "{said}");
    assert!(!said.contains("hello from"), "{said}");
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}
