//! What the kernel says about this boot: its id and the firmware's event log.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use touchstone_evidence::boot_log::LOG_MAX;

/// Text that is longer than this is no boot id.
const BOOT_ID_MAX: u64 = 64;

/// Why the kernel's word about this boot is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no log. That is not an empty log.
    #[error(
        "there is no boot log at `{0}`; see that the firmware's TPM is on and securityfs is mounted (`mount -t securityfs securityfs /sys/kernel/security`), or name the log with `--boot-log`"
    )]
    NoBootLog(PathBuf),

    /// The log has more bytes than an attestor reads.
    #[error(
        "the boot log `{0}` has more than {LOG_MAX} bytes, which no attestor reads; name another with `--boot-log`"
    )]
    LongBootLog(PathBuf),

    /// The file is there, but does not open or read.
    #[error(
        "cannot read `{path}`; the kernel's files on the boot are for root or need `--boot-log` and `--boot-id` to name others"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },

    /// The file holds something else.
    #[error("`{0}` holds no boot id; a UUID is expected, as in /proc/sys/kernel/random/boot_id")]
    NotABootId(PathBuf),
}

/// The boot id's 16 bytes, from the UUID that the kernel writes as text.
///
/// # Errors
/// [`Error::Read`] or [`Error::NotABootId`].
pub fn boot_id(path: &Path) -> Result<[u8; 16], Error> {
    let bytes = read(path, BOOT_ID_MAX).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    uuid(&bytes).ok_or_else(|| Error::NotABootId(path.to_owned()))
}

/// The event log as the kernel shows it. Such files say that their size is 0, so they are read to the end.
///
/// # Errors
/// [`Error::NoBootLog`] if there is none: no log is not an empty log.
pub fn boot_log(path: &Path) -> Result<Vec<u8>, Error> {
    let limit = u64::try_from(LOG_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let log = read(path, limit).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NoBootLog(path.to_owned()),
        _ => Error::Read {
            path: path.to_owned(),
            source,
        },
    })?;
    if log.len() > LOG_MAX {
        return Err(Error::LongBootLog(path.to_owned()));
    }
    Ok(log)
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Groups of 8, 4, 4, 4 and 12 hexadecimal digits.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(text).ok()?.trim_end();
    let groups: Vec<&str> = text.split('-').collect();
    if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
        return None;
    }
    let mut id = [0; 16];
    hex::decode_to_slice(groups.concat(), &mut id).ok()?;
    Some(id)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_becomes_its_bytes_and_nothing_else_does() {
        assert_eq!(
            uuid(b"00112233-4455-6677-8899-aabbccddeeff\n").map(hex::encode),
            Some("00112233445566778899aabbccddeeff".to_owned())
        );
        for text in ["", "00112233445566778899aabbccddeeff", "0-1-2-3-4"] {
            assert_eq!(uuid(text.as_bytes()), None, "{text}");
        }
        assert_eq!(uuid(b"0011223x-4455-6677-8899-aabbccddeeff"), None);
    }

    #[test]
    fn no_log_is_not_an_empty_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(matches!(boot_log(&path), Err(Error::NoBootLog(_))));
        std::fs::write(&path, b"").unwrap();
        assert_eq!(boot_log(&path).unwrap(), b"");
        std::fs::write(&path, vec![0; LOG_MAX]).unwrap();
        assert_eq!(boot_log(&path).unwrap().len(), LOG_MAX);
        std::fs::write(&path, vec![0; LOG_MAX + 1]).unwrap();
        assert!(matches!(boot_log(&path), Err(Error::LongBootLog(_))));
    }
}
