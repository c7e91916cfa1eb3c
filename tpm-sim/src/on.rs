//! `tpm-sim on`: a command as on one machine of a demo that was left running, by a shell with that machine's settings.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::cli::On;
use crate::demo::Environment;

/// Becomes the command; returns only if that cannot be.
pub(crate) fn run(on: &On) -> anyhow::Result<ExitCode> {
    let environment = Environment::of(&on.machine)?;
    let error = Command::new("sh")
        .arg("-c")
        .arg(on.command.join(" "))
        .envs(environment.variables)
        .exec();
    Err(error).context("cannot start a shell")
}
