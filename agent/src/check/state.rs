//! The state folder, what is in it, and the room for more.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::Check;
use crate::attest;
use crate::identity::Identity;
use crate::state::{self, Records};

/// Several times what a folder takes, with every file once more while it is replaced.
const ROOM: u64 = 1 << 20;

const FOLDER: &str = "state folder";
const IDENTITY: &str = "identity";

/// The identity too, if there is one.
pub(super) fn checks(dir: &Path) -> (Vec<Check>, Option<Identity>) {
    let mut checks = Vec::new();
    if dir.exists() {
        checks.push(match usable(dir) {
            Ok(()) => Check::good(FOLDER, format!("`{}`, open to nobody else", dir.display())),
            Err(error) => Check::bad(FOLDER, &error),
        });
        checks.push(room(dir));
    }
    let records = Records::at(dir);
    let identity = records.identity();
    // The rest of the files is read for whether it reads.
    let others = records
        .draft()
        .map(drop)
        .and_then(|()| records.challenge().map(drop))
        .and_then(|()| records.outcome().map(drop));
    if let Err(error) = others {
        checks.push(Check::bad("state files", &error));
    }
    checks.push(match &identity {
        Ok(Some(identity)) => Check::good(
            IDENTITY,
            format!("{}, enrolled with {}", identity.host, identity.server),
        ),
        Ok(None) => Check::bad(IDENTITY, &attest::Error::NotEnrolled),
        Err(error) => Check::bad(IDENTITY, error),
    });
    (checks, identity.ok().flatten())
}

fn usable(dir: &Path) -> Result<(), state::Error> {
    state::closed_to_others(dir)?;
    access(dir, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| state::Error::Folder {
        path: dir.to_owned(),
        source: io::Error::from(error),
    })
}

/// Rounds go on without it.
fn room(dir: &Path) -> Check {
    const SUBJECT: &str = "free space";
    let free = match statvfs(dir) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return Check::harmless(SUBJECT, &io::Error::from(error)),
    };
    let seen = format!("{} KiB", free / 1024);
    if free < ROOM {
        let next = "make room; until then rounds go on from memory, and no host enrols";
        return Check::notice(SUBJECT, seen, next);
    }
    Check::good(SUBJECT, seen)
}
