//! Work is bounded, whatever the log says (attacks L8).

use std::time::{Duration, Instant};

use super::*;
use crate::corpus::folder;

/// One small event of a SHA-1 log, and the log that begins it.
fn small() -> (Vec<u8>, Vec<u8>) {
    let begin = Builder::new(&[SHA1]).bytes;
    let with = Builder::new(&[SHA1])
        .measured(0, kind::SEPARATOR, &[])
        .bytes;
    let event = with[begin.len()..].to_vec();
    (begin, event)
}

#[test]
fn too_large_or_too_many_is_refused_at_once() {
    let start = Instant::now();
    let error = BootLog::parse(&vec![0; 64 << 20]).unwrap_err();
    assert_eq!(error, BootLogError::TooLarge(64 << 20));
    assert_eq!(error.finding().code, "boot-log-too-large");

    let (begin, event) = small();
    let log = |events: usize| [begin.clone(), event.repeat(events)].concat();
    assert!(matches!(
        BootLog::parse(&log(100_000)),
        Err(BootLogError::TooLarge(_))
    ));
    let many = log(LOG_MAX / event.len() - 2);
    let error = BootLog::parse(&many).unwrap_err();
    assert_eq!(error.finding().code, "boot-log-too-many-events");
    let most = BootLog::parse(&log(EVENTS_MAX - 1)).unwrap();
    assert_eq!(most.events().len(), EVENTS_MAX - 1);
    assert_eq!(
        BootLog::parse(&log(EVENTS_MAX)),
        Err(BootLogError::TooManyEvents)
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Zeros are events of the old form, and padding at the end: whoever looks for padding before each
/// event reads the whole rest each time.
#[test]
fn a_log_of_zeros_costs_no_time_in_the_square_of_its_length() {
    let mut zeros = vec![0; LOG_MAX];
    zeros[LOG_MAX - 1] = 1;
    let start = Instant::now();
    assert_eq!(BootLog::parse(&zeros), Err(BootLogError::TooManyEvents));
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(1), "{taken:?}");
}

#[test]
fn a_length_past_the_end_is_a_truncation() {
    let (_, event) = small();
    for length in [1, 0x7fff_ffff, u32::MAX] {
        let mut log = [Builder::new(&[SHA1]).separators(0..8).bytes, event.clone()].concat();
        let at = log.len() - 4;
        log[at..].copy_from_slice(&length.to_le_bytes());
        assert_eq!(BootLog::parse(&log), Err(BootLogError::Truncated));
    }
    let counts = |at: usize| {
        let mut log = recorded();
        log[at..at + 4].fill(0xff);
        BootLog::parse(&log)
    };
    assert_eq!(counts(65 + 8), Err(BootLogError::Digests(1)));
    assert_eq!(counts(32 + 24), Err(BootLogError::SpecId));
}

#[test]
fn a_hostile_log_makes_no_long_answer() {
    let mut log = Builder::new(&[SHA256]).separators(0..8);
    for _ in 0..500 {
        log = log.separators(0..8).measured(7, kind::IPL, b"x");
    }
    let disorder = log.parse().unwrap().disorder(Bank::Sha256);
    assert_eq!(disorder.len(), 9, "{disorder:?}");
}

/// The bound is loose, since other tests run beside it and the code may not be optimised; the number
/// is printed. With `--release` it is the real one.
#[test]
fn a_log_of_41_kilobytes_is_read_in_a_moment() {
    let Some(corpus) = folder("no log of 41 KB was timed") else {
        return;
    };
    let bytes = std::fs::read(corpus.join("boot/quirks/keylime-secureboot.bin")).unwrap();
    let mut best = [Duration::MAX; 3];
    for _ in 0..50 {
        let start = Instant::now();
        let log = BootLog::parse(&bytes).unwrap();
        best[0] = best[0].min(start.elapsed());
        assert!(log.replay(Bank::Sha256).is_some());
        best[1] = best[1].min(start.elapsed());
        assert!(log.disorder(Bank::Sha256).is_empty());
        best[2] = best[2].min(start.elapsed());
    }
    let [parse, replay, order] = best;
    eprintln!(
        "{} bytes: parse {parse:?}, with replay {replay:?}, with order {order:?}",
        bytes.len()
    );
    let bound = if cfg!(debug_assertions) { 50 } else { 3 };
    assert!(order < Duration::from_millis(bound));
}
