//! Lists of real machines, where `TOUCHSTONE_CORPUS` names their folder.

use super::workshop::*;
use super::*;
use crate::corpus::{MACHINES, folder};

#[test]
fn a_server_with_violations_replays_in_both_banks() {
    let Some(corpus) = folder("no real list was replayed") else {
        return;
    };
    let json = std::fs::read(corpus.join("boot/guard-h12ssl.json")).unwrap();
    let list = std::fs::read(corpus.join("ima/h12ssl.ima")).unwrap();
    for (bank, aggregate) in [
        ("sha1", BootAggregate::PcrsTo7),
        // Its kernel writes a SHA-1 aggregate, of which SHA-256 PCRs prove nothing.
        ("sha256", BootAggregate::BankUnquoted),
    ] {
        let boot = Boot {
            list: list.clone(),
            pcrs: recorded_pcrs(&json, bank),
        };
        let (entries, state) = boot.replay().unwrap();
        assert_eq!((entries.len(), state.entries), (5071, 5071));
        assert_eq!(state.extension, Some(Extension::TemplateHash));
        assert_eq!(state.boot_aggregate, Some(aggregate));
        let violations = |entry: &&Entry<'_>| matches!(entry, Entry::Violation { .. });
        assert_eq!(entries.iter().filter(violations).count(), 9);
    }
}

#[test]
fn our_own_boots_replay_and_tampering_shows_in_the_aggregate() {
    let Some(corpus) = folder("no real list was replayed") else {
        return;
    };
    let mut aggregates = Vec::new();
    for machine in MACHINES {
        let read = |file: &str| std::fs::read(corpus.join("vm").join(machine).join(file)).unwrap();
        let boot = Boot {
            list: read("ima.bin"),
            pcrs: recorded_pcrs(&read("pcrs.json"), "sha256"),
        };
        let (entries, state) = boot.replay().unwrap();
        assert_eq!(entries.len(), 81, "{machine}");
        assert_eq!(state.boot_aggregate, Some(BootAggregate::PcrsTo9));
        aggregates.push(measured(&entries, 0).digest.to_vec());
    }
    assert_ne!(aggregates[0], aggregates[1], "another command line");
    assert_ne!(aggregates[3], aggregates[4], "another grub.cfg");
}
