//! The firmware's event log: written back it says the same, replay is a fold of its digests and
//! nothing else, and a log in order replays onto the quote of its own values.
//!
//! Besides as it came, each log is read with digests that are right for its data, so that more than
//! the search for a digest is searched.

#![no_main]

use touchstone_evidence::boot_log::{Bank, BootLog, Event, ReplayedLog, Untouched};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::pcr::{PcrSelection, PcrValues};
use touchstone_evidence_fuzz::verified_quote;

touchstone_evidence_fuzz::target!(check);

fn check(data: &[u8]) -> bool {
    let Ok(log) = BootLog::parse(data) else {
        return false;
    };
    assert_eq!(BootLog::parse(data).as_ref(), Ok(&log));
    look_at(&log);

    let honest = BootLog::parse(&write(&log)).unwrap();
    assert_eq!(log.startup_locality(), honest.startup_locality());
    let claims = |log: &BootLog| -> Vec<_> {
        let events = log.events().iter();
        let claims = |event: &Event| {
            (
                event.pcr,
                event.untrusted_kind,
                event.untrusted_data.clone(),
            )
        };
        events.map(claims).collect()
    };
    assert_eq!(claims(&log), claims(&honest));
    look_at(&honest);
    replays(honest);
    true
}

/// Everything that can be asked of a log.
fn look_at(log: &BootLog) {
    let numbers: Vec<usize> = log.events().iter().map(|event| event.number).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next));
    for bank in log.banks() {
        let (disorder, exit) = (log.disorder(*bank), log.exit_boot_services(*bank));
        assert_eq!(disorder, log.disorder(*bank));
        // One of each kind for each PCR.
        assert!(disorder.len() <= 7 * 8);
        assert!(exit.failures + exit.successes <= log.events().len());
        for event in log.events() {
            std::hint::black_box(event.proven_content(*bank));
            std::hint::black_box(event.proven_variable(*bank));
            let description = event.describe(*bank);
            assert!(!description.text.contains(char::is_control));
        }
        let Some(replayed) = log.replay(*bank) else {
            continue;
        };
        assert!(replayed.keys().all(|pcr| *pcr < 24));
        assert!(replayed.values().all(|value| value.bank() == *bank));
        assert!(
            log.events()
                .iter()
                .all(|event| replayed.contains_key(&event.pcr))
        );
    }
}

fn replays(log: BootLog) {
    if !log.disorder(Bank::Sha256).is_empty() {
        return;
    }
    let replayed = log.replay(Bank::Sha256).unwrap();
    let value = |pcr| {
        let value = replayed.get(&pcr).and_then(|value| value.sha256());
        (pcr, value.unwrap_or_default())
    };
    let values = PcrValues(PcrSelection::DEFAULT.indices().map(value).collect());
    // A log of separators alone is of a bank that nothing was measured into.
    if Untouched::of(&values).is_some() {
        return;
    }
    let mut other = values.clone();
    let proven = ReplayedLog::verify(log.clone(), &verified_quote(values)).unwrap();
    assert_eq!(proven.events(), log.events());
    assert!(proven.kernel_command_lines().count() <= proven.command_lines().len());
    for line in proven.command_lines() {
        if let Some(text) = line.text() {
            assert!(line.is(text), "{line:?}");
        }
    }
    assert_eq!(
        proven.secure_boot(),
        proven.secure_boot_policy().secure_boot
    );

    other.0.insert(0, Sha256Digest::of(b"other"));
    assert!(ReplayedLog::verify(log, &verified_quote(other)).is_err());
}

/// The log in the crypto-agile form (PFP §10.2.2) with the SHA-256 bank alone.
fn write(log: &BootLog) -> Vec<u8> {
    // Signature, platform class, version 2.0, errata, size of UINTN; one bank, no vendor info.
    let spec = [
        &b"Spec ID Event03\0"[..],
        &[0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0],
    ]
    .concat();
    let mut out = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20]].concat();
    sized(&mut out, &spec);
    let mut event = |pcr: u8, kind: u32, digest: [u8; 32], data: &[u8]| {
        out.extend(u32::from(pcr).to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend([1, 0, 0, 0, 0x0b, 0]);
        out.extend(digest);
        sized(&mut out, data);
    };
    if log.startup_locality() != 0 {
        let data = [&b"StartupLocality\0"[..], &[log.startup_locality()]].concat();
        event(0, 3, [0; 32], &data);
    }
    for one in log.events() {
        let data = &one.untrusted_data;
        event(one.pcr, one.untrusted_kind, digest(data), data);
    }
    out
}

/// Of the data, or of the text after a label where GRUB measured it.
fn digest(data: &[u8]) -> [u8; 32] {
    let text = [&b"grub_cmd: "[..], b"kernel_cmdline: ", b"module_cmdline: "]
        .iter()
        .find_map(|label| data.strip_prefix(*label))
        .map(|text| text.strip_suffix(&[0]).unwrap_or(text));
    Sha256Digest::of(text.unwrap_or(data)).0
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    out.extend(bytes);
}
