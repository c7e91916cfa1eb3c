//! 10,000 entries of the kernel's measurement list, as of a busy server: parsed and replayed; and what a steady
//! round after them costs, with ten new entries and with none.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Range;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use criterion::{Criterion, Throughput};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::ima::{
    BootAggregate, ImaList, ImaPart, ImaState, PcrDigest, QuotedPcrs, Replay, ReplayedIma,
};

use crate::cpu_time::CpuTime;

const ENTRIES: u32 = 10_000;
const NEW: u32 = 10;

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let (bytes, pcr10) = measured(0..ENTRIES, Sha256Digest::ZERO);
    let quoted = quoted(pcr10);
    let start = ImaState {
        // The first entry is a file here.
        boot_aggregate: Some(BootAggregate::BankUnquoted),
        ..ImaState::before_boot(&quoted)
    };

    let mut group = criterion.benchmark_group("ima");
    group.throughput(Throughput::Elements(ENTRIES.into()));
    group.bench_function("parse-and-replay", |bencher| {
        bencher.iter(|| {
            let list = ImaList::parse(black_box(&bytes)).unwrap();
            *ReplayedIma::verify(&list, &start, &quoted).unwrap().state()
        });
    });
    group.finish();

    let list = ImaList::parse(&bytes).unwrap();
    let state = *ReplayedIma::verify(&list, &start, &quoted).unwrap().state();
    let (new, pcr10) = measured(ENTRIES..ENTRIES + NEW, pcr10);
    let later = self::quoted(pcr10);
    let mut group = criterion.benchmark_group("ima-round");
    for (name, bytes, quoted) in [("unmoved", &[][..], &quoted), ("ten-new", &new, &later)] {
        group.bench_function(name, |bencher| {
            let part = ImaPart {
                offset_bytes: state.offset_bytes,
                bytes,
                more: false,
            };
            let proven = part.verify(Some(&state), quoted);
            assert!(matches!(proven, Ok(Replay::Proven(_))), "{proven:?}");
            bencher.iter(|| black_box(part).verify(Some(&state), quoted).unwrap());
        });
    }
}

/// Entries of these numbers, and PCR 10 after them.
fn measured(numbers: Range<u32>, mut pcr10: Sha256Digest) -> (Vec<u8>, Sha256Digest) {
    let mut bytes = Vec::new();
    for number in numbers {
        let data = template_data(number);
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &data);
        bytes.extend(10_u32.to_le_bytes());
        bytes.extend(hash.as_ref());
        sized(&mut bytes, b"ima-ng");
        sized(&mut bytes, &data);
        pcr10 = pcr10.extend(&Sha256Digest::of(&data).0);
    }
    (bytes, pcr10)
}

/// Of the template `ima-ng`: digest and path.
fn template_data(number: u32) -> Vec<u8> {
    let path = format!("/usr/lib/x86_64-linux-gnu/libsomething-{number}.so.1\0");
    let file = [&b"sha256:\0"[..], &Sha256Digest::of(path.as_bytes()).0].concat();
    let mut data = Vec::new();
    sized(&mut data, &file);
    sized(&mut data, path.as_bytes());
    data
}

fn quoted(pcr10: Sha256Digest) -> QuotedPcrs {
    let zero = (0..10).map(|pcr| (pcr, Sha256Digest::ZERO));
    let values = zero.chain([(10, pcr10)]);
    let values: BTreeMap<u8, PcrDigest> = values
        .map(|(pcr, value)| (pcr, PcrDigest::Sha256(value)))
        .collect();
    QuotedPcrs::recorded(&values).unwrap()
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    out.extend(bytes);
}
