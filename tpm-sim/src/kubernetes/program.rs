//! One program of the control plane, which goes with its value.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::{Error, Result};
use crate::mortal;

/// Lines of a log that an error repeats.
const TAIL: usize = 4;

pub(super) struct Program {
    name: &'static str,
    process: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it; what it says goes to `NAME.log` of the folder, which is also where it runs.
    pub(super) fn start(
        name: &'static str,
        path: &Path,
        flags: Vec<OsString>,
        folder: &Path,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let said = File::options().create(true).append(true).open(&log);
        let said = said.map_err(Error::file(&log))?;
        let process = mortal::command(path)
            .args(flags)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(|source| Error::Run {
                program: name,
                source,
            })?;
        Ok(Self { name, process, log })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// # Errors
    /// [`Error::Ended`] if it has.
    pub(super) fn still_runs(&mut self) -> Result<()> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Error::Ended {
                program: self.name,
                said: self.last_words(),
            }),
            Err(source) => Err(Error::Run {
                program: self.name,
                source,
            }),
        }
    }

    fn last_words(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines: Vec<_> = said.lines().rev().take(TAIL).map(str::trim).collect();
        lines.reverse();
        lines.join("; ")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _status = self.process.wait();
    }
}
