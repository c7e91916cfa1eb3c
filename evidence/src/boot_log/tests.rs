//! Boot logs made here byte by byte, and recorded ones: whole, cut, padded, glued, altered.

mod bounds;
mod content;
mod corpus;
mod form;
mod mutation;
mod order;
mod random;
mod tool;

use std::path::PathBuf;

use super::*;

/// A log under construction: Spec ID and the events of some banks.
#[derive(Clone)]
struct Builder {
    banks: Vec<(u16, usize)>,
    bytes: Vec<u8>,
}

pub(crate) const SHA1: (u16, usize) = (0x0004, 20);
pub(crate) const SHA256: (u16, usize) = (0x000b, 32);
pub(crate) const SHA384: (u16, usize) = (0x000c, 48);
pub(crate) const SHA512: (u16, usize) = (0x000d, 64);

impl Builder {
    fn new(banks: &[(u16, usize)]) -> Self {
        Self {
            banks: banks.to_vec(),
            bytes: spec_id(banks, b""),
        }
    }

    /// An event whose digests are those of `measured`.
    fn event(mut self, pcr: u32, kind: u32, measured: &[u8], data: &[u8]) -> Self {
        self.bytes.extend(pcr.to_le_bytes());
        self.bytes.extend(kind.to_le_bytes());
        let count = u32::try_from(self.banks.len()).unwrap();
        self.bytes.extend(count.to_le_bytes());
        for (algorithm, size) in &self.banks {
            self.bytes.extend(algorithm.to_le_bytes());
            match Bank::of(*algorithm).hash(measured) {
                Some(digest) if kind != kind::NO_ACTION => self.bytes.extend(digest.as_bytes()),
                _ => self.bytes.extend(vec![0; *size]),
            }
        }
        self.bytes
            .extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        self.bytes.extend(data);
        self
    }

    /// An event whose digest is that of its data.
    fn measured(self, pcr: u32, kind: u32, data: &[u8]) -> Self {
        self.event(pcr, kind, data, data)
    }

    fn notice(self, pcr: u32, data: &[u8]) -> Self {
        self.event(pcr, kind::NO_ACTION, b"", data)
    }

    fn locality(self, locality: u8) -> Self {
        self.notice(0, &[b"StartupLocality\0", &[locality][..]].concat())
    }

    /// A separator for each of `pcrs`.
    fn separators(self, pcrs: impl IntoIterator<Item = u32>) -> Self {
        pcrs.into_iter()
            .fold(self, |log, pcr| log.measured(pcr, kind::SEPARATOR, &[0; 4]))
    }

    fn parse(&self) -> Result<BootLog, BootLogError> {
        BootLog::parse(&self.bytes)
    }
}

/// A Spec ID Event03 (PFP §10.4.5.1): what a log of these banks begins with.
pub(crate) fn spec_id(banks: &[(u16, usize)], vendor: &[u8]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    data.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for (algorithm, size) in banks {
        data.extend(algorithm.to_le_bytes());
        data.extend(u16::try_from(*size).unwrap().to_le_bytes());
    }
    data.push(u8::try_from(vendor.len()).unwrap());
    data.extend(vendor);
    first_event(&data)
}

/// An EV_NO_ACTION of PCR 0 in the SHA-1 form.
fn first_event(data: &[u8]) -> Vec<u8> {
    legacy_event(0, kind::NO_ACTION, &[0; 20], data)
}

fn legacy_event(pcr: u32, kind: u32, digest: &[u8; 20], data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(pcr.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(digest);
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes
}

/// A `UEFI_VARIABLE_DATA` of the global namespace.
fn variable(name: &str, value: &[u8]) -> Vec<u8> {
    let vendor = [
        0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b,
        0x8c,
    ];
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = |length: usize| u64::try_from(length).unwrap().to_le_bytes();
    [
        &vendor[..],
        &length(name.len() / 2),
        &length(value.len()),
        &name,
        value,
    ]
    .concat()
}

/// A boot of our own, in the repository.
fn recorded() -> Vec<u8> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tpm-sim/profiles/shim_sb/bios.bin"
    );
    std::fs::read(path).unwrap()
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// Every log of the corpus, those of our own machines included.
fn logs(corpus: &std::path::Path) -> Vec<PathBuf> {
    let mut logs = files(corpus.join("boot"));
    logs.extend(files(corpus.join("boot/quirks")));
    logs.retain(|path| {
        !path
            .extension()
            .is_some_and(|end| end == "json" || end == "yaml")
    });
    let mut machines: Vec<PathBuf> = std::fs::read_dir(corpus.join("vm"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("bios.bin"))
        .filter(|path| path.is_file())
        .collect();
    machines.sort();
    logs.extend(machines);
    logs
}
