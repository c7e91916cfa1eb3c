//! One boot beside another one: which events were added, removed or changed.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use touchstone_evidence::boot_log::{Bank, BootLog, Difference, Event};

use super::super::super::output::grid;
use super::super::paper::Paper;
use super::super::pcr_file::ranges;
use super::picture::event_json;
use super::{mark, told};

/// Shows what `log` has otherwise than `other`. Returns the JSON, and whether nothing differs.
pub(super) fn show(paper: &mut Paper, log: &BootLog, other: &BootLog) -> (Value, bool) {
    let common = [Bank::Sha256, Bank::Sha384, Bank::Sha512, Bank::Sha1]
        .into_iter()
        .find(|bank| log.banks().contains(bank) && other.banks().contains(bank));
    let Some(bank) = common else {
        paper.entry("FAILED  ", "the logs have no bank in common");
        return (json!({ "bank": Value::Null, "differences": [] }), false);
    };
    let localities = [other, log].map(BootLog::startup_locality);
    let [expected, observed] = localities;
    if expected != observed {
        let told = format!("the TPM started from locality {observed}, not {expected}");
        paper.entry("DIFFERS ", &told);
    }
    let differences = other.compare(log, bank);
    if !differences.is_empty() {
        let header = ["PCR", "", "event", "in the other log", "in this log"];
        let rows = differences.iter().map(|(pcr, it)| row(*pcr, it, bank));
        for line in grid(&header, rows.collect()).lines() {
            paper.unbroken(line);
        }
    }
    let pcrs: BTreeSet<u8> = differences.iter().map(|(pcr, _)| *pcr).collect();
    let pcrs: Vec<u8> = pcrs.into_iter().collect();
    let same = differences.is_empty() && expected == observed;
    match differences.len() {
        0 if same => paper.entry(
            "ok      ",
            &format!("both logs measured the same, in bank {bank}"),
        ),
        0 => {}
        count => {
            let told = format!(
                "{count} events of PCRs {} differ, in bank {bank}",
                ranges(&pcrs)
            );
            paper.entry("DIFFERS ", &told);
        }
    }
    let json = json!({
        "bank": bank.to_string(),
        "pcrs": pcrs,
        "startup_locality": { "expected": expected, "observed": observed },
        "differences": differences.iter().map(|(pcr, it)| as_json(*pcr, it, bank)).collect::<Vec<_>>(),
    });
    (json, same)
}

fn parts<'a>(
    difference: &Difference<&'a Event, &'a Event>,
) -> (&'static str, [Option<&'a Event>; 2]) {
    match *difference {
        Difference::Removed(event) => ("removed", [Some(event), None]),
        Difference::Added(event) => ("added", [None, Some(event)]),
        Difference::Changed(before, after) => ("changed", [Some(before), Some(after)]),
    }
}

fn row(pcr: u8, difference: &Difference<&Event, &Event>, bank: Bank) -> Vec<String> {
    let (word, sides) = parts(difference);
    let [before, after] = sides.map(|event| {
        event.map_or_else(
            || "-".to_owned(),
            |event| {
                let digest = event
                    .digest(bank)
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let beginning: String = digest.chars().take(12).collect();
                let proven = mark(event.describe(bank).proven);
                format!("{proven} {} [{beginning}…]", told(event, bank))
            },
        )
    });
    let number = sides
        .iter()
        .rev()
        .flatten()
        .next()
        .map(|event| event.number);
    let number = number.map(|number| number.to_string()).unwrap_or_default();
    vec![pcr.to_string(), word.to_owned(), number, before, after]
}

fn as_json(pcr: u8, difference: &Difference<&Event, &Event>, bank: Bank) -> Value {
    let (word, sides) = parts(difference);
    let [expected, observed] = sides.map(|event| event.map(|event| event_json(event, bank)));
    json!({ "pcr": pcr, "change": word, "expected": expected, "observed": observed })
}
