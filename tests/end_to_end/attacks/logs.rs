//! L: lies about the boot log. Each is a log that the host really announces, over an honest quote.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_tests::host::Profile;
use touchstone_tests::liar::Liar;
use touchstone_tests::world::healthy_host;

use super::{Told, code};

pub(super) const TOLD: &[&str] = &[
    "L1a", "L1b", "L1c", "L1d", "L3a", "L3b", "L3c", "L3d", "L7a", "L7b", "L8a", "L8b",
];

/// Bytes of the Spec ID event of our own boots.
const HEADER: usize = 65;

pub(super) async fn tell() -> Told {
    let (world, host, _maker) = healthy_host().await;
    let liar = Liar::take(&host, &world.server).await;
    let honest = std::fs::read(Profile::Healthy.boot_log()).unwrap();
    let events = events(&honest);
    let glue = |parts: &[&[u8]]| parts.concat();
    let locality = |value: u8| event(0, 3, &[b"StartupLocality\0", &[value][..]].concat());
    let separator = event(0, 4, &[0; 4]);

    let (header, rest) = honest.split_at(HEADER);
    let mut reordered = header.to_vec();
    reordered.extend(&honest[events[1].clone()]);
    reordered.extend(&honest[events[0].clone()]);
    reordered.extend(&honest[events[1].end..]);
    let mut digest_changed = honest.clone();
    digest_changed[events[5].start + 14] ^= 1;
    let mut no_spec_id = honest.clone();
    no_spec_id[32] ^= 1;
    let lies: Vec<(&'static str, Vec<u8>)> = vec![
        ("L1a", glue(&[header, &honest[events[0].end..]])),
        ("L1b", glue(&[&honest, &separator])),
        ("L1c", reordered),
        ("L1d", digest_changed),
        ("L3a", glue(&[header, &locality(3), &locality(3), rest])),
        ("L3b", glue(&[&honest, &locality(3)])),
        ("L3c", no_spec_id),
        ("L3d", glue(&[header, &event(24, 4, &[0; 4])])),
        ("L8a", glue(&[&honest, &vec![1; 1 << 20]])),
        ("L8b", glue(&[header, &event(0, 4, &[]).repeat(9000)])),
    ];
    let mut told = Told::new();
    for (id, log) in lies {
        let answer = liar
            .lie(|lie| {
                lie.boot_log_digest = Sha256Digest::of(&log);
                lie.boot_log = Some(log.into());
            })
            .await;
        told.insert(id, code(answer));
    }
    let unknown = liar
        .lie(|lie| {
            lie.boot_log = None;
            lie.boot_log_digest = Sha256Digest::of(b"never seen");
        })
        .await;
    told.insert("L7a", code(unknown));
    let announced = liar
        .lie(|lie| lie.boot_log_digest = Sha256Digest::ZERO)
        .await;
    told.insert("L7b", code(announced));
    told
}

/// Where each event after the header lies, SHA-256 bank alone.
fn events(log: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = HEADER;
    while at < log.len() {
        let size = log[at + 46..at + 50].try_into().unwrap();
        let end = at + 50 + usize::try_from(u32::from_le_bytes(size)).unwrap();
        ranges.push(at..end);
        at = end;
    }
    ranges
}

fn event(pcr: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(pcr.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(0x0bu16.to_le_bytes());
    bytes.extend([0; 32]);
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes
}
