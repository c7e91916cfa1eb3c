//! Logs of real machines with the PCR values recorded beside them, where `TOUCHSTONE_CORPUS` names
//! them; what is expected of each is in the corpus's own description.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::corpus::folder;

/// Logs whose replay differs from what is recorded, in which bank and PCRs: a machine that was
/// tampered with; a bank that its firmware never extended.
const DIFFERENT: [(&str, Bank, &[u8]); 2] = [
    ("guard-failed-1", Bank::Sha256, &[0]),
    ("guard-t480s", Bank::Sha1, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
];

/// Logs out of order: the firmware of this cloud hands Windows a log without the separators of PCRs
/// 0 to 6, whose PCR values are those of the log.
const DISORDERLY: [&str; 1] = ["goatt-windows-gcp"];

fn log(path: &Path) -> BootLog {
    BootLog::parse(&std::fs::read(path).unwrap()).unwrap()
}

/// PCRs 0–9 and 14 that the log does not lead to, and how many were compared.
fn differing(log: &BootLog, bank: Bank, recorded: &Value) -> (Vec<u8>, usize) {
    let replayed = log.replay(bank).unwrap();
    let zero = bank.start(0).unwrap();
    let compared: Vec<(u8, bool)> = BOOT_PCRS
        .into_iter()
        .filter_map(|pcr| {
            let recorded = recorded.get(pcr.to_string())?.as_str()?.to_lowercase();
            let value = replayed.get(&pcr).unwrap_or(&zero).to_string();
            Some((pcr, value == recorded))
        })
        .collect();
    let differing = compared.iter().filter(|(_, same)| !same);
    (differing.map(|(pcr, _)| *pcr).collect(), compared.len())
}

#[test]
fn recorded_logs_lead_to_the_recorded_pcrs_in_every_bank() {
    let Some(corpus) = folder("no real boot log was replayed") else {
        return;
    };
    let (mut count, mut banks, mut pcrs, mut events) = (0, 0, 0, 0);
    for path in logs(&corpus) {
        if path.parent().unwrap().ends_with("quirks") {
            continue;
        }
        let values = match path.ends_with("bios.bin") {
            true => path.with_file_name("pcrs.json"),
            false => path.with_extension("json"),
        };
        let recorded: Value = serde_json::from_slice(&std::fs::read(values).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let log = log(&path);
        count += 1;
        events += log.events().len();
        let mut replayed = Vec::new();
        for (of, recorded) in recorded["pcrs"].as_object().unwrap() {
            let every = [Bank::Sha1, Bank::Sha256, Bank::Sha384, Bank::Sha512];
            let bank = *every.iter().find(|bank| bank.to_string() == *of).unwrap();
            if !log.banks().contains(&bank) {
                // A bank that is active and not in the log: this firmware never extends it.
                assert_eq!((name, bank), ("guard-ludmilla", Bank::Sha384));
                assert_eq!(log.replay(bank), None);
                continue;
            }
            let expected = DIFFERENT
                .iter()
                .find_map(|(log, of, pcrs)| ((*log, *of) == (name, bank)).then_some(*pcrs));
            let (differing, compared) = differing(&log, bank, recorded);
            assert_eq!(differing, expected.unwrap_or_default(), "{name} {bank}");
            replayed.push(format!("{bank} {}/{compared}", compared - differing.len()));
            banks += 1;
            pcrs += compared;
        }
        let disorder: Vec<Disorder> = log
            .banks()
            .iter()
            .flat_map(|bank| log.disorder(*bank))
            .collect();
        assert_eq!(
            disorder.is_empty(),
            !DISORDERLY.contains(&name),
            "{disorder:?}"
        );
        let machine = path
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        eprintln!(
            "{machine}/{name}: {} events, {}, out of order: {}",
            log.events().len(),
            replayed.join(", "),
            disorder.len()
        );
    }
    eprintln!("{count} logs, {events} events: {banks} banks replayed, {pcrs} PCRs compared");
    assert_eq!(count, 20);
}

#[test]
fn odd_logs_parse_to_the_end_or_say_why_not() {
    let Some(corpus) = folder("no odd boot log was read") else {
        return;
    };
    // Events, notices, banks, missing separators.
    let expected = BTreeMap::from([
        ("ebs_event_missing_eventlog", (38, 0, 1, 0)),
        ("event-moklisttrusted.bin", (96, 0, 1, 0)),
        ("event-sd-boot-fedora37.bin", (27, 0, 1, 0)),
        ("keylime-secureboot.bin", (98, 0, 1, 0)),
        ("option_rom_eventlog", (60, 1, 1, 0)),
        // A part of a log: the separator of PCR 7, and none of the others.
        ("sb_cert_eventlog", (14, 0, 3, 7)),
        ("ubuntu-2404-amd-sevsnp.bin", (116, 0, 3, 0)),
    ]);
    let mut seen = 0;
    for path in files(corpus.join("boot/quirks")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".yaml") {
            let error = BootLog::parse(&std::fs::read(&path).unwrap()).unwrap_err();
            eprintln!("{name}: {error}");
            assert_eq!(error.finding().code, "boot-log-truncated");
            continue;
        }
        let log = log(&path);
        let counts = (log.events().len(), log.notices().len(), log.banks().len());
        for bank in log.banks() {
            let disorder = log.disorder(*bank);
            let (events, notices, banks, missing) = expected[name];
            assert_eq!(counts, (events, notices, banks), "{name}");
            assert_eq!(disorder.len(), missing, "{name}: {disorder:?}");
            let missing = |breach: &Disorder| matches!(breach, Disorder::SeparatorMissing { .. });
            assert!(disorder.iter().all(missing));
        }
        let exits = log.exit_boot_services(log.banks()[0]);
        eprintln!("{name}: {counts:?} events, notices, banks; {exits:?}");
        seen += 1;
    }
    assert_eq!(seen, expected.len());
}

#[test]
fn our_machines_prove_their_command_lines() {
    let Some(corpus) = folder("no command line was looked for") else {
        return;
    };
    use CommandLineSource::{Grub, LoadOptions, Systemd, UkiSection};
    for (name, sources) in [
        ("base", &[LoadOptions][..]),
        ("t_cmdline", &[LoadOptions]),
        ("t_root", &[LoadOptions]),
        ("shim_sb", &[Grub]),
        ("shim_sb_evil", &[Grub]),
        ("uki", &[UkiSection, LoadOptions]),
    ] {
        let folder = corpus.join("vm").join(name);
        let lines = command_line::find(log(&folder.join("bios.bin")).events(), Bank::Sha256);
        let found: Vec<_> = lines.iter().map(CommandLine::source).collect();
        assert_eq!(found, sources, "{name}");
        let running = std::fs::read_to_string(folder.join("cmdline")).unwrap();
        // GRUB measures the file's name where the kernel is told BOOT_IMAGE=.
        let measured = running.trim_end().trim_start_matches("BOOT_IMAGE=");
        for line in &lines {
            assert!(line.is(measured), "{name}");
            assert!(!line.is(&format!("{measured} ima=off")));
            assert_eq!(line.text().is_some(), line.source() == Grub);
        }
    }
    // Of a systemd-boot machine, measured by the loader and by the stub.
    let path = corpus.join("boot/quirks/event-sd-boot-fedora37.bin");
    let lines = command_line::find(log(&path).events(), Bank::Sha256);
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(line.source(), Systemd);
        let text = " console=ttyS0 console=tty0 efi=debug ";
        assert_eq!(line.text(), Some(text));
    }
}

/// GRUB's forms are all known: no event of PCR 8 of any machine is left unproven.
#[test]
fn every_text_of_grub_is_proven() {
    let Some(corpus) = folder("no text of GRUB was proven") else {
        return;
    };
    let (mut texts, mut lines) = (0, 0);
    for path in logs(&corpus) {
        let log = log(&path);
        let found = command_line::find(log.events(), Bank::Sha256);
        let unknown = |line: &&CommandLine| line.source() == CommandLineSource::Unknown;
        assert_eq!(found.iter().find(unknown), None, "{}", path.display());
        lines += found.len();
        let text = |event: &&Event| event.proven_text().is_some();
        texts += log.events().iter().filter(text).count();
    }
    eprintln!("{texts} texts of GRUB proven, {lines} command lines found");
}

#[test]
fn a_changed_list_of_shim_is_one_event() {
    let Some(corpus) = folder("no change of MokListX was looked for") else {
        return;
    };
    let [before, after] = ["baseline", "add-mokx"].map(|name| {
        let file = format!("boot/guard-test-HP-EliteBook-830-G6-{name}.log");
        let events = log(&corpus.join(file)).events;
        let shim = events.into_iter().filter(|event| event.pcr == 14);
        shim.map(|event| (event.untrusted_description(), event.sha256()))
            .collect::<Vec<_>>()
    });
    let changed: Vec<&str> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .map(|(before, _)| before.0.as_str())
        .collect();
    assert_eq!(changed, ["MokListX"]);
}
