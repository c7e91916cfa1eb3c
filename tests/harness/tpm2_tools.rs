//! Commands of tpm2-tools, with which an owner may do to a TPM what the agent never does.

use std::process::{Command, Stdio};

use crate::host::Host;

/// Runs one, which is to go well; what it said.
pub fn run(host: &Host, program: &str, arguments: &[&str]) -> String {
    let (good, said) = attempt(host, program, arguments);
    assert!(good, "{program} {arguments:?}: {said}");
    said
}

/// Whether it went well, and what it said.
#[must_use]
pub fn attempt(host: &Host, program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program)
        .args(arguments)
        .env("TPM2TOOLS_TCTI", host.tpm.tcti())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}
