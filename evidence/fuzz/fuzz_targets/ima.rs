//! The kernel's measurement list: parsed to its last byte, and replayed in two rounds as in one.
//!
//! Template hashes are put right before the replay, so that more than the first record is searched. The same as
//! parts of a message: what leads to the quote is proven alike, and no part that does not is put off.

#![no_main]

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::ima::{
    BootAggregate, ImaError, ImaList, ImaPart, ImaState, PcrDigest, QuotedPcrs, Replay, ReplayedIma,
    whole_entries,
};

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    let Ok(list) = ImaList::parse(data) else {
        return false;
    };
    assert_eq!(whole_entries(data), data.len());
    if let Some((_, front)) = data.split_last() {
        assert!(whole_entries(front) < data.len());
        assert!(ImaList::parse(front).is_err(), "the last byte is ignored");
    }
    assert!(ImaList::parse(&[data, &[0]].concat()).is_err());

    let records = split(data);
    assert_eq!(list.untrusted_entries().count(), records.len());
    let honest: Vec<u8> = records.iter().flat_map(|record| record.honest()).collect();
    replays(&honest, &records);
    true
}

fn replays(honest: &[u8], records: &[Record<'_>]) {
    // An empty list replays onto nothing.
    if records.is_empty() {
        return;
    }
    let list = ImaList::parse(honest).unwrap();
    let at_end = quoted(fold(records));
    let start = ImaState {
        // The registers before 10 are not of this machine, so the first entry is not compared.
        boot_aggregate: Some(BootAggregate::BankUnquoted),
        ..ImaState::before_boot(&at_end)
    };
    let whole = match ReplayedIma::verify(&list, &start, &at_end) {
        Ok(whole) => whole,
        Err(error) => {
            assert!(matches!(error, ImaError::Relabelled(_)), "{error}");
            return;
        }
    };
    assert_eq!(whole.entries().count(), records.len());
    assert_eq!(whole.state().offset_bytes, honest.len() as u64);
    assert!(whole.entries().eq(list.untrusted_entries()));

    // Half of it first; what runs ahead of the quote is left for the second round.
    let half = records.len().div_ceil(2);
    let first = ReplayedIma::verify(&list, &start, &quoted(fold(&records[..half]))).unwrap();
    assert_eq!(first.entries().count(), half);
    let offset = first.state().offset_bytes;
    let rest = ImaList::parse_from(offset, &honest[offset as usize..]).unwrap();
    let second = ReplayedIma::verify(&rest, first.state(), &at_end).unwrap();
    assert_eq!(second.state(), whole.state());

    let part = |offset: u64, more: bool| ImaPart {
        offset_bytes: offset,
        bytes: &honest[offset as usize..],
        more,
    };
    let proven = |part: ImaPart<'_>, kept: &ImaState| match part.verify(Some(kept), &at_end) {
        Ok(Replay::Proven(replayed)) => *replayed.state(),
        other => panic!("{other:?}"),
    };
    assert_eq!(proven(part(0, false), &start), *whole.state());
    assert_eq!(proven(part(offset, false), first.state()), *whole.state());
    let again = part(0, false).verify(Some(first.state()), &at_end);
    assert!(matches!(again, Err(ImaError::Behind { .. })), "{again:?}");

    let mut other = fold(records);
    other.0[0] ^= 1;
    let put_off = part(0, true).verify(Some(&start), &quoted(other));
    assert!(matches!(put_off, Err(ImaError::PartTooSmall(_))), "{put_off:?}");
    let error = ReplayedIma::verify(&list, &start, &quoted(other)).unwrap_err();
    assert!(matches!(error, ImaError::Replay { .. }), "{error}");
}

/// PCR 10 as given, and nothing in those before it.
fn quoted(pcr10: Sha256Digest) -> QuotedPcrs {
    let zero = (0..10).map(|pcr| (pcr, Sha256Digest::ZERO));
    let values = zero.chain([(10, pcr10)]);
    let values: BTreeMap<u8, PcrDigest> = values
        .map(|(pcr, value)| (pcr, PcrDigest::Sha256(value)))
        .collect();
    QuotedPcrs::recorded(&values).unwrap()
}

/// A record of a list that parses.
struct Record<'a> {
    is_violation: bool,
    /// Name of the template, with its length.
    name: &'a [u8],
    /// From there to the end of the record.
    data: &'a [u8],
    hashed: Vec<u8>,
}

impl Record<'_> {
    fn honest(&self) -> Vec<u8> {
        let hash = match self.is_violation {
            true => [0; 20].to_vec(),
            false => digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.hashed)
                .as_ref()
                .to_vec(),
        };
        [&10_u32.to_le_bytes(), &hash[..], self.name, self.data].concat()
    }
}

fn fold(records: &[Record<'_>]) -> Sha256Digest {
    records.iter().fold(Sha256Digest::ZERO, |value, record| {
        value.extend(&match record.is_violation {
            true => [0xff; 32],
            false => Sha256Digest::of(&record.hashed).0,
        })
    })
}

fn split(mut list: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    while !list.is_empty() {
        let (head, rest) = list.split_at(24);
        let name_end = 4 + length(rest, 0);
        let (name, rest) = rest.split_at(name_end);
        let (end, hashed) = match &name[4..] == b"ima" {
            // Digest, length and name; the hash is over the name with zeros up to 256 bytes.
            true => {
                let end = 24 + length(rest, 20);
                let mut hashed = [&rest[..20], &rest[24..end]].concat();
                hashed.resize(276, 0);
                (end, hashed)
            }
            false => {
                let end = 4 + length(rest, 0);
                (end, rest[4..end].to_vec())
            }
        };
        let (data, rest) = rest.split_at(end);
        let is_violation = head[4..] == [0; 20];
        records.push(Record {
            is_violation,
            name,
            data,
            hashed,
        });
        list = rest;
    }
    records
}

fn length(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}
