//! A disk that is soon full: a small file system in memory, mounted for one test.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted disk, which goes with this value.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of this many mebibytes. Only root may mount: for others this says that the test was skipped, and why.
    #[must_use]
    pub fn mount(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={mebibytes}m,mode=755");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]);
        let output = mount.arg(folder.path()).output().unwrap();
        if output.status.success() {
            return Some(Self { folder });
        }
        eprintln!(
            "SKIPPED: a small disk cannot be mounted here, so nothing was shown about full and read-only disks: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        None
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let block = [0; 4096];
        loop {
            match ballast.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Gives it back.
    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    /// Nothing can be written to it, or something again. Nobody may have a file open that can be written to.
    pub fn set_read_only(&self, read_only: bool) {
        let option = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        let mut mount = Command::new("mount");
        let done = mount.args(["-o", option]).arg(self.path()).status();
        assert!(done.unwrap().success(), "{option}");
        let mut opened = OpenOptions::new();
        opened.write(true).create(true).truncate(false);
        let probe = opened.open(self.path().join("probe"));
        assert_eq!(probe.is_err(), read_only);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // At once, and in fact when the last file is closed.
        let mut unmount = Command::new("umount");
        let _gone = unmount.arg("--lazy").arg(self.path()).status();
    }
}
