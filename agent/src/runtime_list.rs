//! The kernel's runtime measurement list, read on from where the attestor left off.
//!
//! One message carries at most [`PART_MAX`] bytes: a first list may be tens of megabytes large, and neither
//! end is to hold that at once. What does not fit follows in the next rounds, which then come at once.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use touchstone_evidence::ima::{PART_FULL, PART_MAX, whole_entries};
use touchstone_evidence::tpm::attest::Attest;
use touchstone_evidence::wire::{RuntimePart, RuntimePosition};

/// Why the list is not to be had, though the kernel keeps one.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the runtime list `{path}`; it is for root, or `--ima-list` needs to name another file"
)]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// Where the list is to be continued in the boot that `quote`, a `TPMS_ATTEST`, speaks of: in a new one, from
/// its beginning.
#[must_use]
pub fn wanted(position: Option<&RuntimePosition>, quote: &[u8]) -> u64 {
    let (Some(position), Ok(quote)) = (position, Attest::parse(quote)) else {
        return 0;
    };
    let clock = quote.clock_info;
    let of_this_boot =
        (position.reset_count, position.restart_count) == (clock.reset_count, clock.restart_count);
    match of_this_boot {
        true => position.offset,
        false => 0,
    }
}

/// What stands in the list from byte `wanted` on, as much as one message takes. `None`: the kernel has no
/// list, which is not an empty one. A list that is shorter than `wanted` is read from its beginning.
///
/// # Errors
/// [`Error`] if there is a list that does not read.
pub fn part(path: &Path, wanted: u64) -> Result<Option<RuntimePart>, Error> {
    let failed = |source| Error {
        path: path.to_owned(),
        source,
    };
    let mut list = match File::open(path) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Files of securityfs say that their size is 0. The byte before the wanted ones tells a list that has
    // not grown from one that has shrunk.
    if let Some(before) = wanted.checked_sub(1) {
        let mut bytes = read(&mut list, before).map_err(failed)?;
        if !bytes.is_empty() {
            bytes.remove(0);
            return Ok(Some(cut(wanted, bytes)));
        }
    }
    let bytes = read(&mut list, 0).map_err(failed)?;
    Ok(Some(cut(0, bytes)))
}

/// One byte more than a part has room for, and the one before.
fn read(list: &mut File, from: u64) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(PART_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    list.seek(SeekFrom::Start(from))?;
    list.take(limit.saturating_add(2)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn cut(offset: u64, mut bytes: Vec<u8>) -> RuntimePart {
    let more = bytes.len() > PART_MAX;
    if more {
        bytes.truncate(PART_MAX);
        let whole = whole_entries(&bytes);
        // Where entries end that we do not know, the attestor finds out what is wrong with them.
        if whole >= PART_FULL {
            bytes.truncate(whole);
        }
    }
    RuntimePart {
        offset,
        entries: bytes.into(),
        more,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    /// An entry of the template `ima-ng` with `length` bytes of data.
    fn entry(length: u32) -> Vec<u8> {
        let mut entry = 10u32.to_le_bytes().to_vec();
        entry.extend([1; 20]);
        entry.extend(6u32.to_le_bytes());
        entry.extend(b"ima-ng");
        entry.extend(length.to_le_bytes());
        entry.resize(entry.len() + usize::try_from(length).unwrap(), 7);
        entry
    }

    fn of(list: &[u8], wanted: u64) -> RuntimePart {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), list).unwrap();
        part(file.path(), wanted).unwrap().unwrap()
    }

    #[test]
    fn no_list_is_not_an_empty_list() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(part(&dir.path().join("list"), 0).unwrap(), None);
        assert_eq!(of(b"", 0).entries.len(), 0);
        assert!(part(dir.path(), 0).is_err(), "a folder does not read");
    }

    #[test]
    fn it_goes_on_where_the_attestor_left_off() {
        let list = [entry(80), entry(90)].concat();
        let first = u64::try_from(entry(80).len()).unwrap();
        let rest = of(&list, first);
        assert_eq!((rest.offset, &rest.entries.0), (first, &entry(90)));
        assert!(!rest.more);
        let end = u64::try_from(list.len()).unwrap();
        let nothing = of(&list, end);
        assert_eq!((nothing.offset, nothing.entries.len()), (end, 0));
        // A list that is shorter than it was shows itself whole.
        let shorter = of(&list, end + 1);
        assert_eq!((shorter.offset, &shorter.entries.0), (0, &list));
    }

    #[test]
    fn a_large_list_is_cut_between_entries() {
        let list = entry(1000).repeat(3000);
        let first = of(&list, 0);
        assert!(first.more && first.entries.len() <= PART_MAX);
        assert_eq!(first.entries.len() % entry(1000).len(), 0);
        assert!(first.entries.len() + entry(1000).len() > PART_MAX);
        let mut read = first.entries.0;
        while read.len() < list.len() {
            let next = of(&list, u64::try_from(read.len()).unwrap());
            assert_eq!(next.more, read.len() + next.entries.len() < list.len());
            read.extend(&next.entries.0);
        }
        assert_eq!(read, list);
        // As many bytes as fit exactly are all there is.
        let exact = [&list[..PART_MAX - entry(100).len()], &entry(100)].concat();
        assert!(!of(&exact, 0).more);
        // What is no list is sent as it is.
        assert_eq!(of(&vec![9; 2 * PART_MAX], 0).entries.len(), PART_MAX);
    }

    #[test]
    fn another_boot_begins_another_list() {
        let quote = include_bytes!("../../tpm-sim/profiles/shim_sb/quote.msg");
        let clock = Attest::parse(quote).unwrap().clock_info;
        let position = RuntimePosition {
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            offset: 99,
        };
        assert_eq!(wanted(Some(&position), quote), 99);
        assert_eq!(wanted(None, quote), 0);
        for (reset, restart) in [(1, 0), (0, 1)] {
            let other = RuntimePosition {
                reset_count: position.reset_count + reset,
                restart_count: position.restart_count + restart,
                ..position
            };
            assert_eq!(wanted(Some(&other), quote), 0);
        }
    }
}
