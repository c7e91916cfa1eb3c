//! Which demos of this user are kept: one file each, in a folder that nobody else may write to.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rustix::process::getuid;
use serde::{Deserialize, Serialize};

/// A kept demo.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its keeper.
    pub(super) pid: i32,
    /// When that process started, in clock ticks since boot: pids are used again.
    pub(super) started: u64,
    /// Its temporary folder.
    pub(super) folder: PathBuf,
}

impl Entry {
    /// This process as the keeper of what lies in `folder`.
    pub(super) fn of_this_process(folder: &Path) -> anyhow::Result<Self> {
        let pid = i32::try_from(std::process::id()).context("a pid beyond all bounds")?;
        Ok(Self {
            pid,
            started: started(pid).context("cannot tell when this process started")?,
            folder: folder.to_owned(),
        })
    }

    /// Whether the process of this entry is there.
    pub(super) fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    pub(super) fn write(&self) -> anyhow::Result<()> {
        let path = self.path()?;
        fs::write(&path, serde_json::to_vec(self)?)
            .with_context(|| format!("cannot write `{}`", path.display()))
    }

    pub(super) fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.path()?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn path(&self) -> anyhow::Result<PathBuf> {
        Ok(folder()?.join(format!("{}.json", self.pid)))
    }
}

/// Every entry there is.
pub(super) fn entries() -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for file in fs::read_dir(folder()?)? {
        let path = file?.path();
        let read = || anyhow::Ok(serde_json::from_slice(&fs::read(&path)?)?);
        entries.push(
            read().with_context(|| {
                format!("`{}` is no entry of a demo; remove it", path.display())
            })?,
        );
    }
    Ok(entries)
}

/// The folder, made if need be. Entries say which processes to end: nobody else may have written them.
fn folder() -> anyhow::Result<PathBuf> {
    let user = getuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder = match runtime.filter(|runtime| runtime.is_dir()) {
        Some(runtime) => runtime.join("touchstone-demos"),
        None => std::env::temp_dir().join(format!("touchstone-demos-{user}")),
    };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make `{}`", folder.display()));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(&folder)?;
    ensure!(
        metadata.is_dir() && metadata.uid() == user && metadata.mode() & 0o077 == 0,
        "`{}` is not a folder of this user alone; remove it",
        folder.display()
    );
    Ok(folder)
}

/// When a process started, unless it has ended: fields 3 and 22 of proc_pid_stat(5). The second field may
/// hold blanks. One that nobody has waited for is a zombie.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!["Z", "X"].contains(&state)).then_some(started)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        let entry = Entry::of_this_process(Path::new("/nowhere")).unwrap();
        assert!(entry.is_alive());
        let reused = Entry {
            started: entry.started + 1,
            ..entry
        };
        assert!(!reused.is_alive());
    }
}
