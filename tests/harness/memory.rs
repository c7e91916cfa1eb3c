//! What is in the memory of a process, as a debugger or a core dump shows it: every mapping that can be read, whatever
//! the process asked to be left out of dumps.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Read at a time. A whole number of pages.
const PIECE: usize = 64 << 10;
/// What most of what is mapped holds.
static EMPTY: [u8; PIECE] = [0; PIECE];

/// A line of `/proc/PID/status` in KiB, such as `VmRSS`.
#[must_use]
pub fn line(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.unwrap().parse().unwrap()
}

/// How often each of `needles`, in which no byte is zero, stands in the memory of a process that is running.
#[must_use]
pub fn count(pid: u32, needles: &[Vec<u8>]) -> Vec<usize> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let longest = needles.iter().map(Vec::len).max().unwrap();
    let mut counts = vec![0; needles.len()];
    let mut piece = vec![0; PIECE];
    let mut read = 0;
    for (from, to) in maps.lines().filter_map(readable) {
        // What the piece before ended with: a needle may begin there.
        let mut rest = Vec::new();
        let mut at = from;
        while at < to {
            let length = PIECE.min(usize::try_from(to - at).unwrap());
            match memory.read_at(&mut piece[..length], at) {
                // Mapped since, or a page of a device.
                Ok(0) | Err(_) => {
                    rest.clear();
                    at += 4096;
                }
                Ok(length) if piece[..length] == EMPTY[..length] => {
                    rest.clear();
                    at += length as u64;
                }
                Ok(length) => {
                    read += length;
                    let seen = [&rest, &piece[..length]].concat();
                    for (needle, count) in needles.iter().zip(&mut counts) {
                        // Whole ones in the rest were counted before.
                        let from = rest.len().saturating_sub(needle.len() - 1);
                        *count += memchr::memmem::find_iter(&seen[from..], needle).count();
                    }
                    rest = seen[seen.len().saturating_sub(longest - 1)..].to_vec();
                    at += length as u64;
                }
            }
        }
    }
    assert!(read > 1 << 20, "only {read} bytes of memory could be read");
    counts
}

/// First and one past the last address of a mapping that can be read.
fn readable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    let (from, to) = words.next()?.split_once('-')?;
    let may_be_read = words.next()?.starts_with('r');
    let number = |text| u64::from_str_radix(text, 16).ok();
    let range = (number(from)?, number(to)?);
    // Answered by the kernel, not by memory.
    let special = line.ends_with("[vvar]") || line.ends_with("[vsyscall]");
    (may_be_read && !special).then_some(range)
}
