//! Hostile bytes: no panic, no endless loop, whatever they are.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::corpus::folder;

/// Asks a log everything.
fn exercise(bytes: &[u8]) {
    let Ok(log) = BootLog::parse(bytes) else {
        return;
    };
    for bank in log.banks() {
        let _ = (
            log.replay(*bank),
            log.disorder(*bank),
            log.exit_boot_services(*bank),
        );
        let _ = SecureBootPolicy::of(log.events(), *bank);
        for event in log.events() {
            let _ = (event.describe(*bank), event.untrusted_description());
        }
    }
    for line in command_line::find(log.events(), Bank::Sha256) {
        let _ = (line.is("quiet"), line.text());
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..4096)) {
        exercise(&bytes);
        // Behind a good beginning it gets further.
        exercise(&[spec_id(&[SHA1, SHA256], b""), bytes].concat());
    }

    #[test]
    fn random_events_never_panic(
        events in vec((0u32..26, 0u32..30, vec(any::<u8>(), 0..80)), 0..40),
    ) {
        let mut log = Builder::new(&[SHA256]);
        for (pcr, kind, data) in events {
            let kind = if kind < 16 { kind } else { 0x8000_0000 | (kind - 15) };
            log = log.measured(pcr, kind, &data);
        }
        exercise(&log.bytes);
    }

    #[test]
    fn flipped_bits_never_panic(flips in vec((any::<Index>(), 0u8..8), 1..6)) {
        let mut bytes = recorded();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        exercise(&bytes);
    }

    #[test]
    fn what_is_built_is_what_is_parsed(
        events in vec((0u32..24, 0u32..20, vec(any::<u8>(), 0..50)), 0..30),
    ) {
        let mut log = Builder::new(&[SHA1, SHA384]);
        for (pcr, kind, data) in &events {
            log = log.measured(*pcr, *kind, data);
        }
        let parsed = log.parse().unwrap();
        let extended: Vec<_> = events
            .iter()
            .filter(|(_, kind, _)| *kind != kind::NO_ACTION)
            .collect();
        prop_assert_eq!(parsed.events().len(), extended.len());
        prop_assert_eq!(parsed.notices().len(), events.len() - extended.len());
        for (event, (pcr, kind, data)) in parsed.events().iter().zip(extended) {
            prop_assert_eq!(u32::from(event.pcr), *pcr);
            prop_assert_eq!(event.untrusted_kind, *kind);
            prop_assert_eq!(&event.untrusted_data, data);
            prop_assert!(event.proves_data(Bank::Sha1) && event.proves_data(Bank::Sha384));
            prop_assert_eq!(event.sha256(), None);
        }
    }
}

#[test]
fn no_cut_or_flip_of_a_real_log_panics() {
    let Some(corpus) = folder("no real log was cut or altered") else {
        return;
    };
    let (mut cuts, mut flips, mut parsed) = (0, 0, 0);
    for path in logs(&corpus) {
        let bytes = std::fs::read(&path).unwrap();
        // At every length in front, where the fields differ most; behind, where parsing takes longer,
        // at every eleventh.
        let lengths = (0..bytes.len()).filter(|length| *length < 2048 || length % 11 == 0);
        for length in lengths {
            parsed += usize::from(BootLog::parse(&bytes[..length]).is_ok());
            cuts += 1;
        }
        let mut altered = bytes.clone();
        for byte in (0..bytes.len()).step_by(211) {
            altered[byte] ^= 1 << (byte % 8);
            match byte % 5 {
                0 => exercise(&altered),
                _ => drop(BootLog::parse(&altered)),
            }
            altered[byte] = bytes[byte];
            flips += 1;
        }
    }
    eprintln!("{cuts} cuts of real logs ({parsed} parsed) and {flips} flips: none panicked");
}
