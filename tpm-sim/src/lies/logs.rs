//! L: lies about the boot log. Each is a log that the host really announces, over an honest quote.

use std::ops::Range;

use touchstone_evidence::digest::Sha256Digest;

use super::liar::code;
use super::{Enrolled, Error, Result, Told};

pub(super) const TOLD: &[&str] = &[
    "L1a", "L1b", "L1c", "L1d", "L3a", "L3b", "L3c", "L3d", "L7a", "L7b", "L8a", "L8b",
];

/// Bytes of the Spec ID event of our own boots.
const HEADER: usize = 65;

pub(super) async fn tell(scene: &Enrolled<'_>) -> Result<Told> {
    let Enrolled { liar, .. } = *scene;
    let mut told = Told::new();
    for (id, log) in lies(scene.machine.profile.boot_log)? {
        let lie = liar.lie(|lie| {
            lie.boot_log_digest = Sha256Digest::of(&log);
            lie.boot_log = Some(log.into());
        });
        told.insert(id, code(&lie.await?));
    }
    let unknown = liar.lie(|lie| {
        lie.boot_log = None;
        lie.boot_log_digest = Sha256Digest::of(b"never seen");
    });
    told.insert("L7a", code(&unknown.await?));
    let announced = liar.lie(|lie| lie.boot_log_digest = Sha256Digest::ZERO);
    told.insert("L7b", code(&announced.await?));
    Ok(told)
}

/// Logs made from an honest one.
fn lies(honest: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let short = || Error::Scene("a recorded log is too short");
    let events = events(honest).ok_or_else(short)?;
    let [first, second, .., sixth] = events.get(..6).ok_or_else(short)? else {
        return Err(short());
    };
    let glue = |parts: &[&[u8]]| parts.concat();
    let locality = |value: u8| event(0, 3, &[b"StartupLocality\0", &[value][..]].concat());
    let separator = event(0, 4, &[0; 4]);

    let (header, rest) = honest.split_at(HEADER);
    let mut reordered = header.to_vec();
    reordered.extend(&honest[second.clone()]);
    reordered.extend(&honest[first.clone()]);
    reordered.extend(&honest[second.end..]);
    let mut digest_changed = honest.to_vec();
    digest_changed[sixth.start + 14] ^= 1;
    let mut no_spec_id = honest.to_vec();
    no_spec_id[32] ^= 1;
    Ok(vec![
        ("L1a", glue(&[header, &honest[first.end..]])),
        ("L1b", glue(&[honest, &separator])),
        ("L1c", reordered),
        ("L1d", digest_changed),
        ("L3a", glue(&[header, &locality(3), &locality(3), rest])),
        ("L3b", glue(&[honest, &locality(3)])),
        ("L3c", no_spec_id),
        ("L3d", glue(&[header, &event(24, 4, &[0; 4])])),
        ("L8a", glue(&[honest, &vec![1; 1 << 20]])),
        ("L8b", glue(&[header, &event(0, 4, &[]).repeat(9000)])),
    ])
}

/// Where each event after the header lies, SHA-256 bank alone.
fn events(log: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut ranges = Vec::new();
    let mut at = HEADER;
    while at < log.len() {
        let size = log.get(at + 46..at + 50)?.try_into().ok()?;
        let end = at + 50 + usize::try_from(u32::from_le_bytes(size)).ok()?;
        ranges.push(at..end);
        at = end;
    }
    Some(ranges)
}

/// An event of the SHA-256 bank whose digest is zero.
fn event(pcr: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    bytes.extend(pcr.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(0x0bu16.to_le_bytes());
    bytes.extend([0; 32]);
    bytes.extend(size.to_le_bytes());
    bytes.extend(data);
    bytes
}
