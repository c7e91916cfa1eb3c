//! A recorded boot as firmware with several PCR banks would have measured and logged it.

use touchstone_evidence::boot_log::{Bank, BootLog, Event};
use touchstone_tpm_sim::swtpm;

/// The log of the same boot with digests of all `banks`, and the extends that go with it.
#[must_use]
pub fn measured(log: &[u8], banks: &[swtpm::Bank]) -> (Vec<u8>, Vec<swtpm::Event>) {
    measured_but(log, banks, |_, _| None)
}

/// The same with `other` digests.
#[must_use]
pub fn measured_but(
    log: &[u8],
    banks: &[swtpm::Bank],
    other: impl Fn(&Event, swtpm::Bank) -> Option<Vec<u8>>,
) -> (Vec<u8>, Vec<swtpm::Event>) {
    let log = BootLog::parse(log).unwrap();
    let mut bytes = spec_id(banks);
    let mut extends = Vec::new();
    for event in log.events() {
        let digests: Vec<Vec<u8>> = banks
            .iter()
            .map(|bank| other(event, *bank).unwrap_or_else(|| digest(event, *bank)))
            .collect();
        bytes.extend(u32::from(event.pcr).to_le_bytes());
        bytes.extend(event.untrusted_kind.to_le_bytes());
        bytes.extend(length(banks));
        for (bank, digest) in banks.iter().zip(&digests) {
            bytes.extend(algorithm(*bank).to_le_bytes());
            bytes.extend(digest);
        }
        bytes.extend(length(&event.untrusted_data));
        bytes.extend(&event.untrusted_data);
        extends.push((event.pcr, banks.iter().copied().zip(digests).collect()));
    }
    (bytes, extends)
}

fn spec_id(banks: &[swtpm::Bank]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    data.extend(length(banks));
    for bank in banks {
        data.extend(algorithm(*bank).to_le_bytes());
        data.extend(u16::try_from(bank.size()).unwrap().to_le_bytes());
    }
    data.push(0);
    let mut bytes = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20]].concat();
    bytes.extend(length(&data));
    bytes.extend(data);
    bytes
}

/// The digest in `bank` of what the recorded digest is of; of the data, where that is a file that is not
/// at hand, so that it is of nothing in the log either.
fn digest(event: &Event, bank: swtpm::Bank) -> Vec<u8> {
    if bank == swtpm::Bank::Sha256 {
        return event.sha256().unwrap().0.to_vec();
    }
    let bank = Bank::of(algorithm(bank));
    let recorded = event.digest(Bank::Sha256);
    let data = event.untrusted_data.as_slice();
    let ends = [data, data.strip_suffix(&[0]).unwrap_or(data)];
    let measured = ends.iter().find_map(|end| {
        // What is measured is at the end of the data: a text after its label, the value of a variable.
        (0..=end.len())
            .map(|at| &end[at..])
            .find(|part| Bank::Sha256.hash(part).as_ref() == recorded)
    });
    let hidden = [data, b"the file"].concat();
    let measured = measured.unwrap_or(&hidden);
    bank.hash(measured).unwrap().as_bytes().to_vec()
}

fn length<T>(list: &[T]) -> [u8; 4] {
    u32::try_from(list.len()).unwrap().to_le_bytes()
}

fn algorithm(bank: swtpm::Bank) -> u16 {
    match bank {
        swtpm::Bank::Sha1 => 0x0004,
        swtpm::Bank::Sha256 => 0x000b,
        swtpm::Bank::Sha384 => 0x000c,
        swtpm::Bank::Sha512 => 0x000d,
    }
}
