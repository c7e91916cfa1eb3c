//! Against `tpm2_eventlog` of tpm2-tools, where it is installed: number, PCR, type and digests of events.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::corpus::folder;

/// An event as the tool prints it.
#[derive(Debug, PartialEq, Eq, Default)]
struct Printed {
    pcr: String,
    kind: String,
    digests: Vec<(String, String)>,
}

/// Its YAML, read by line: a parser would stumble over what firmware puts into strings.
fn printed(path: &Path) -> Option<Vec<Printed>> {
    let output = Command::new("tpm2_eventlog").arg(path).output().unwrap();
    if !output.status.success() {
        return None;
    }
    let mut events: Vec<Printed> = Vec::new();
    let mut algorithm = String::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if line == "pcrs:" {
            break;
        }
        let Some((key, value)) = line.split_once(": ") else {
            continue;
        };
        let value = value.trim_matches('"').to_owned();
        match key {
            // It numbers only the events of crypto-agile logs.
            "  PCRIndex" | "- PCRIndex" => events.push(Printed {
                pcr: value,
                ..Printed::default()
            }),
            "  EventType" => events.last_mut()?.kind = value,
            "  - AlgorithmId" => algorithm = value,
            "    Digest" => events.last_mut()?.digests.push((algorithm.clone(), value)),
            _ => (),
        }
    }
    Some(events)
}

fn ours(event: &Event, banks: &[Bank]) -> Printed {
    let kind = kind::name(event.untrusted_kind).map(ToOwned::to_owned);
    Printed {
        pcr: event.pcr.to_string(),
        kind: kind.unwrap_or_else(|| format!("{:#x}", event.untrusted_kind)),
        digests: banks
            .iter()
            .filter_map(|bank| Some((bank.to_string(), event.digest(*bank)?.to_string())))
            .collect(),
    }
}

/// Logs that the tool does not read to the end, of version 5.4: it falls over an EV_NO_ACTION of PCR
/// 0xFFFFFFFF. A log that comes or goes is looked at by a person.
const NOT_READ: [&str; 1] = ["boot/quirks/option_rom_eventlog"];

#[test]
fn tpm2_eventlog_reads_the_same_events() {
    let version = Command::new("tpm2_eventlog").arg("--version").output();
    let Ok(version) = version else {
        eprintln!(
            "SKIPPED: tpm2_eventlog is not installed (Debian: tpm2-tools), so no other program read our logs"
        );
        return;
    };
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let profiles = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tpm-sim/profiles"));
    let mut paths: Vec<(String, PathBuf)> = ["shim_sb", "shim_sb_evil"]
        .map(|name| (name.to_owned(), profiles.join(name).join("bios.bin")))
        .to_vec();
    let corpus = folder("only the logs of our profiles are compared");
    if let Some(corpus) = &corpus {
        let named = |path: PathBuf| {
            let name = path.strip_prefix(corpus).unwrap().display().to_string();
            (name, path)
        };
        paths.extend(logs(corpus).into_iter().map(named));
    }
    let (mut compared, mut events) = (0, 0);
    let mut not_read = Vec::new();
    for (name, path) in &paths {
        let Some(printed) = printed(path) else {
            not_read.push(name.as_str());
            continue;
        };
        let log = BootLog::parse(&std::fs::read(path).unwrap()).unwrap();
        let (notices, theirs): (Vec<_>, Vec<_>) = printed
            .iter()
            .partition(|event| event.kind == "EV_NO_ACTION");
        let spec_id = usize::from(log.banks() != [Bank::Sha1]);
        assert_eq!(notices.len(), log.notices().len() + spec_id, "{name}");
        assert_eq!(theirs.len(), log.events().len(), "{name}");
        for (event, theirs) in log.events().iter().zip(theirs) {
            assert_eq!(&ours(event, log.banks()), theirs, "{name} {}", event.number);
        }
        compared += 1;
        events += printed.len();
    }
    let all = paths.len();
    eprintln!(
        "{compared} of {all} logs compared with tpm2_eventlog, {events} events; not read: {not_read:?}"
    );
    match corpus {
        Some(_) => assert_eq!(not_read, NOT_READ, "other logs than before; {version}"),
        None => assert_eq!(not_read, [""; 0], "{version}"),
    }
}
