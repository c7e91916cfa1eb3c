//! The agent as a daemon, and what befalls it: one test for each row of the table in `docs/agent.md`.

mod at_once;
mod attestor;
mod check;
mod documents;
mod memory;
mod state;
mod tabrmd;
mod tpm;

use std::process::Command;

/// How a command of the agent ended, and what it said on standard error.
fn end(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}
