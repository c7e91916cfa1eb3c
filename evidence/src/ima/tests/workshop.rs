//! Test material: a recorded boot, boots made to order, and records for their lists.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::*;
use crate::finding::Finding;

/// A list with the PCRs that explain it.
pub(super) struct Boot {
    pub(super) list: Vec<u8>,
    pub(super) pcrs: BTreeMap<u8, PcrDigest>,
}

impl Boot {
    pub(super) fn recorded() -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tpm-sim/profiles/shim_sb/");
        let list = std::fs::read(format!("{folder}ima.bin")).unwrap();
        let json = std::fs::read(format!("{folder}pcrs.json")).unwrap();
        Self {
            list,
            pcrs: recorded_pcrs(&json, "sha256"),
        }
    }

    /// A boot with a proper boot aggregate and then `records`, PCR 10 after all of them.
    pub(super) fn made(bank: Bank, extension: Extension, records: &[Vec<u8>]) -> Self {
        let value = |pcr: u8| match bank {
            Bank::Sha1 => PcrDigest::Sha1([pcr; 20]),
            Bank::Sha256 => PcrDigest::Sha256(crate::digest::Sha256Digest([pcr; 32])),
        };
        let mut pcrs: BTreeMap<u8, PcrDigest> = (0..10).map(|pcr| (pcr, value(pcr))).collect();
        let joined: Vec<u8> = (0..10)
            .flat_map(|pcr| value(pcr).as_bytes().to_vec())
            .collect();
        let aggregate = match bank {
            Bank::Sha1 => d_ng("sha1", &sha1(&joined[..160])),
            Bank::Sha256 => d_ng("sha256", &sha256(&joined)),
        };
        let first = record("ima-ng", &[&aggregate, b"boot_aggregate\0"]);
        let list = [&[first], records].concat().concat();
        pcrs.insert(10, naive_pcr10(&list, bank, extension));
        Self { list, pcrs }
    }

    /// A boot with this list whatever it begins with, and PCR 10 after it.
    pub(super) fn with_list(bank: Bank, list: Vec<u8>) -> Self {
        let mut boot = Self::made(bank, Extension::TemplateHash, &[]);
        let value = naive_pcr10(&list, bank, Extension::TemplateHash);
        boot.pcrs.insert(10, value);
        boot.list = list;
        boot
    }

    pub(super) fn quoted(&self) -> QuotedPcrs {
        QuotedPcrs::recorded(&self.pcrs).unwrap()
    }

    pub(super) fn replay(&self) -> Result<(Vec<Entry<'_>>, ImaState), ImaError> {
        self.replay_of(&self.list)
    }

    /// Replays another list onto this boot's PCRs.
    pub(super) fn replay_of<'a>(
        &self,
        list: &'a [u8],
    ) -> Result<(Vec<Entry<'a>>, ImaState), ImaError> {
        let quoted = self.quoted();
        let list = ImaList::parse(list)?;
        let replayed = ReplayedIma::verify(&list, &ImaState::before_boot(&quoted), &quoted)?;
        Ok((replayed.entries().collect(), *replayed.state()))
    }

    pub(super) fn code_of(&self, list: &[u8]) -> String {
        code(self.replay_of(list))
    }
}

pub(super) fn code<T: std::fmt::Debug>(result: Result<T, ImaError>) -> String {
    let Finding { code, .. } = result.unwrap_err().finding();
    code
}

/// The values of one bank of a `pcrs.json`.
pub(super) fn recorded_pcrs(json: &[u8], bank: &str) -> BTreeMap<u8, PcrDigest> {
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    let values = json["pcrs"][bank].as_object().unwrap();
    values
        .iter()
        .map(|(pcr, value)| {
            let value = format!("{bank}:{}", value.as_str().unwrap());
            (pcr.parse().unwrap(), value.parse().unwrap())
        })
        .collect()
}

pub(super) fn sha1(bytes: &[u8]) -> [u8; 20] {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes)
        .as_ref()
        .try_into()
        .unwrap()
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

pub(super) fn d_ng(algorithm: &str, digest: &[u8]) -> Vec<u8> {
    [algorithm.as_bytes(), b":\0", digest].concat()
}

pub(super) fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

/// A record with its right template hash.
pub(super) fn record(template: &str, fields: &[&[u8]]) -> Vec<u8> {
    let data: Vec<u8> = fields.iter().flat_map(|field| sized(field)).collect();
    record_of(&sha1(&data), template, &data)
}

pub(super) fn record_of(hash: &[u8; 20], template: &str, data: &[u8]) -> Vec<u8> {
    let name = sized(template.as_bytes());
    [&10u32.to_le_bytes(), &hash[..], &name, &sized(data)].concat()
}

pub(super) fn legacy(digest: &[u8; 20], name: &str) -> Vec<u8> {
    let mut hashed = digest.to_vec();
    hashed.extend(name.bytes());
    hashed.resize(276, 0);
    let head = [&10u32.to_le_bytes(), &sha1(&hashed)[..], &sized(b"ima")].concat();
    [head, digest.to_vec(), sized(name.as_bytes())].concat()
}

pub(super) fn violation(path: &[u8]) -> Vec<u8> {
    let data = [sized(&d_ng("sha256", &[0; 20])), sized(path)].concat();
    record_of(&[0; 20], "ima-ng", &data)
}

pub(super) fn file(path: &str) -> Vec<u8> {
    let digest = d_ng("sha256", &sha256(path.as_bytes()));
    record("ima-ng", &[&digest, &[path.as_bytes(), b"\0"].concat()])
}

/// PCR 10 by another way than the code under test: records cut apart by hand.
pub(super) fn naive_pcr10(mut list: &[u8], bank: Bank, extension: Extension) -> PcrDigest {
    let length =
        |at: &[u8]| usize::try_from(u32::from_le_bytes(at[..4].try_into().unwrap())).unwrap();
    let mut value = PcrDigest::zero(bank);
    while !list.is_empty() {
        let hash: [u8; 20] = list[4..24].try_into().unwrap();
        let name_end = 28 + length(&list[24..]);
        let (data, end) = if &list[28..name_end] == b"ima" {
            let end = name_end + 24 + length(&list[name_end + 20..]);
            let mut data = list[name_end..name_end + 20].to_vec();
            data.extend(&list[name_end + 24..end]);
            data.resize(276, 0);
            (data, end)
        } else {
            let end = name_end + 4 + length(&list[name_end..]);
            (list[name_end + 4..end].to_vec(), end)
        };
        let violation = hash == [0; 20];
        value = match value {
            PcrDigest::Sha1(old) => {
                let measured = if violation { [0xff; 20] } else { hash };
                PcrDigest::Sha1(sha1(&[old, measured].concat()))
            }
            PcrDigest::Sha256(old) => {
                let measured = match extension {
                    _ if violation => [0xff; 32].to_vec(),
                    Extension::TemplateHash => sha256(&data).to_vec(),
                    Extension::PaddedSha1 => [&hash[..], &[0; 12]].concat(),
                };
                let value = sha256(&[&old.0[..], &measured].concat());
                PcrDigest::Sha256(crate::digest::Sha256Digest(value))
            }
        };
        list = &list[end..];
    }
    value
}

/// Where each record ends.
pub(super) fn ends(list: &[u8]) -> Vec<usize> {
    let mut records = ImaList::parse(list).unwrap().records();
    let mut ends = Vec::new();
    while records.next().is_some() {
        ends.push(list.len() - records.bytes_left());
    }
    ends
}

pub(super) fn measured<'a>(entries: &[Entry<'a>], at: usize) -> Measured<'a> {
    match entries[at] {
        Entry::Measured(measured) => measured,
        Entry::Violation { .. } => panic!("entry {at} is a violation"),
    }
}
