//! A boot log of 41 KB: parsed, replayed, and the order of its events looked at.
//!
//! It is the log nearest to that size under `TOUCHSTONE_CORPUS`, if that names a folder; else our own
//! recorded log with its events repeated.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput};
use touchstone_evidence::boot_log::{Bank, BootLog};

use crate::cpu_time::CpuTime;
use crate::profile;

/// Usual for a server.
const SIZE: usize = 41_000;

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let (origin, log) = match std::env::var_os("TOUCHSTONE_CORPUS") {
        Some(folder) => nearest(Path::new(&folder)),
        None => (
            "our recorded log, its events repeated".to_owned(),
            repeated(),
        ),
    };
    let events = BootLog::parse(&log).unwrap().events().len();
    eprintln!(
        "boot-log-41k: {origin}, {} bytes, {events} events",
        log.len()
    );
    let mut group = criterion.benchmark_group("boot-log-41k");
    group.throughput(Throughput::Bytes(log.len().try_into().unwrap()));
    group.bench_function("parse-and-replay", |bencher| {
        bencher.iter(|| {
            let log = BootLog::parse(black_box(&log)).unwrap();
            (log.replay(Bank::Sha256), log.disorder(Bank::Sha256))
        });
    });
}

fn nearest(corpus: &Path) -> (String, Vec<u8>) {
    let entries = std::fs::read_dir(corpus.join("boot")).unwrap();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            let log = std::fs::read(&path).ok()?;
            let events = BootLog::parse(&log).ok()?.events().len();
            // A Windows log of that size has twenty, and says little.
            (events >= 50).then_some((name, log))
        })
        .min_by_key(|(_, log)| log.len().abs_diff(SIZE))
        .unwrap()
}

/// The log's first event, which says what the others look like, and the others again and again.
fn repeated() -> Vec<u8> {
    let log = profile("bios.bin");
    let first = (0..log.len())
        .find(|length| {
            log.get(..*length)
                .is_some_and(|log| BootLog::parse(log).is_ok())
        })
        .unwrap();
    let (head, events) = log.split_at(first);
    let mut long = head.to_vec();
    while long.len() < SIZE {
        long.extend(events);
    }
    long
}
