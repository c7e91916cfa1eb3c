//! The programs that `make deps` unpacked into the target folder; elsewhere than on Debian those in PATH.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::{Error, Result};
use crate::mortal;

/// A command for the tool called `name`, which finds the others too and is [`mortal`].
///
/// # Errors
/// [`Error::Missing`].
pub fn command(name: &str) -> Result<Command> {
    let mut command = mortal::command(path_of(name)?);
    command.env("PATH", search_path());
    Ok(command)
}

/// Where the tool called `name` is.
///
/// # Errors
/// [`Error::Missing`].
pub fn path_of(name: &str) -> Result<PathBuf> {
    folders()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Missing(name.to_owned()))
}

/// A `PATH` that has the tools before all else.
#[must_use]
pub fn search_path() -> OsString {
    // Nothing that came out of a PATH has a colon in it; the first folder may.
    env::join_paths(folders()).unwrap_or_default()
}

/// Where the tools are that were unpacked: beside the folder that this program was built into, if they were.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    program
        .ancestors()
        .map(|above| above.join("tools/bin"))
        .find(|tools| tools.is_dir())
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let others: Vec<_> = env::split_paths(&path).collect();
    folder().into_iter().chain(others)
}
