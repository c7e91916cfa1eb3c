//! The agent as a daemon, and what befalls it: one test for each row of the table in `docs/agent.md`.

mod at_once;
mod attestor;
mod check;
mod documents;
mod memory;
mod state;
mod tabrmd;
mod tpm;

use std::process::{Command, Stdio};

use touchstone_tests::daemon::Daemon;

/// How a command of the agent ended, and what it said on standard error. One that goes on is a failure.
fn end(mut command: Command) -> (Option<i32>, String) {
    command.stdout(Stdio::null());
    Daemon::start(command).end()
}
