//! The firmware's log: the boot as a picture, whether it leads to the PCR values given, and in what it
//! differs from another one.

mod against;
mod picture;
mod replay;

use std::path::Path;

use serde_json::json;
use touchstone_evidence::boot_log::{Bank, BootLog, Event};

use super::paper::Paper;
use super::pcr_file::read_banks;
use super::{InspectError, Inspected, read, unparsed};

pub(super) fn inspect(
    file: &Path,
    pcrs: Option<&Path>,
    other: Option<&Path>,
) -> Result<Inspected, InspectError> {
    let log = parse(file)?;
    let recorded = pcrs.map(read_banks).transpose()?;
    let replays = recorded.map(|banks| replay::compare(&log, &banks));
    let replayed = replays.as_ref().is_none_or(|replays| replays.verified());

    let mut paper = Paper::new();
    let (mut json, sound) = match other {
        Some(other) => against::show(&mut paper, &log, &parse(other)?),
        None => {
            let bank = best_bank(&log);
            let disorder = log.disorder(bank);
            let started = replays.as_ref().is_some_and(|it| it.prove(0));
            picture::show(&mut paper, &log, bank, started);
            paper.blank();
            for breach in &disorder {
                paper.entry("ORDER   ", &breach.to_string());
            }
            (picture::json(&log, bank, &disorder), disorder.is_empty())
        }
    };
    match &replays {
        Some(replays) => replays.show(&mut paper),
        None if other.is_none() => {
            paper.line("not replayed: give the PCR values with --pcrs");
        }
        None => {}
    }
    let verified = sound && replayed;
    if let Some(fields) = json.as_object_mut() {
        fields.insert("verified".to_owned(), json!(verified));
        fields.insert("banks".to_owned(), json!(replays.map(|it| it.json())));
    }
    Ok(Inspected {
        json,
        text: paper.text(),
        verified,
    })
}

fn parse(file: &Path) -> Result<BootLog, InspectError> {
    BootLog::parse(&read(file)?).map_err(|error| unparsed(file, "a boot event log", error))
}

/// The bank that events are shown with.
fn best_bank(log: &BootLog) -> Bank {
    [Bank::Sha256, Bank::Sha384, Bank::Sha512, Bank::Sha1]
        .into_iter()
        .find(|bank| log.banks().contains(bank))
        .unwrap_or(Bank::Sha256)
}

/// `EV_IPL grub_cmd …`, in one line.
fn told(event: &Event, bank: Bank) -> String {
    let told = event.describe(bank);
    format!("{} {}", told.untrusted_kind, told.text)
        .trim_end()
        .to_owned()
}

/// `=`: the digest is of what is told; `?`: it is only claimed.
fn mark(proven: bool) -> char {
    match proven {
        true => '=',
        false => '?',
    }
}
