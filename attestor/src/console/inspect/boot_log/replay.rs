//! The log's digests folded into PCR values, bank by bank, beside those of a file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use touchstone_evidence::boot_log::{BOOT_PCRS, Bank, BootLog};

use super::super::paper::Paper;
use super::super::pcr_file::{PcrBanks, ranges};

/// What became of each bank that the file or the log has.
pub(super) struct Replays(BTreeMap<String, Replay>);

enum Replay {
    /// The log leads to the values of these PCRs.
    Same(Vec<u8>),
    /// It leads to other values of these.
    Differs(Vec<u8>),
    /// The log has no digests of the bank, and the TPM's values are those of a bank without use.
    Unused,
    /// The log has no digests of the bank, and yet something was extended.
    Unexplained,
    /// The file has no value of a PCR of the boot.
    NoValues,
}

pub(super) fn compare(log: &BootLog, recorded: &PcrBanks) -> Replays {
    let of_log = log.banks().iter().map(ToString::to_string);
    let names: BTreeSet<String> = of_log.chain(recorded.keys().cloned()).collect();
    let replays = names.into_iter().map(|name| {
        let values = recorded.get(&name);
        let replay = values.map_or(Replay::NoValues, |values| one(log, &name, values));
        (name, replay)
    });
    Replays(replays.collect())
}

fn one(log: &BootLog, name: &str, values: &BTreeMap<u8, Vec<u8>>) -> Replay {
    let given: Vec<u8> = BOOT_PCRS
        .into_iter()
        .filter(|pcr| values.contains_key(pcr))
        .collect();
    if given.is_empty() {
        return Replay::NoValues;
    }
    let bank = log.banks().iter().find(|bank| bank.to_string() == name);
    let Some((bank, replayed)) = bank.and_then(|bank| Some((bank, log.replay(*bank)?))) else {
        let used = |value: &Vec<u8>| value.iter().any(|byte| *byte != 0);
        let used = given.iter().any(|pcr| values.get(pcr).is_some_and(used));
        return match used {
            true => Replay::Unexplained,
            false => Replay::Unused,
        };
    };
    let differs = |pcr: &u8| {
        let zero = vec![0; bank_size(*bank)];
        let replayed = replayed.get(pcr).map(|value| value.as_bytes());
        values.get(pcr).map(Vec::as_slice) != Some(replayed.unwrap_or(&zero))
    };
    let differing: Vec<u8> = given.iter().copied().filter(differs).collect();
    match differing.is_empty() {
        true => Replay::Same(given),
        false => Replay::Differs(differing),
    }
}

fn bank_size(bank: Bank) -> usize {
    bank.digest_size().unwrap_or_default()
}

impl Replays {
    /// Whether some bank replays and none contradicts the log.
    pub(super) fn verified(&self) -> bool {
        let same = |replay: &Replay| matches!(replay, Replay::Same(_));
        let failed = |replay: &Replay| matches!(replay, Replay::Differs(_) | Replay::Unexplained);
        self.0.values().any(same) && !self.0.values().any(failed)
    }

    /// Whether everything was compared well, this PCR too.
    pub(super) fn prove(&self, pcr: u8) -> bool {
        let proves = |replay: &Replay| matches!(replay, Replay::Same(pcrs) if pcrs.contains(&pcr));
        self.verified() && self.0.values().any(proves)
    }

    pub(super) fn show(&self, paper: &mut Paper) {
        for (bank, replay) in &self.0 {
            let (mark, told) = match replay {
                Replay::Same(pcrs) => (
                    "ok      ",
                    format!(
                        "{bank}: the log leads to the values given, PCRs {}",
                        ranges(pcrs)
                    ),
                ),
                Replay::Differs(pcrs) => (
                    "FAILED  ",
                    format!(
                        "{bank}: the log leads to other values of PCRs {}",
                        ranges(pcrs)
                    ),
                ),
                Replay::Unexplained => (
                    "FAILED  ",
                    format!(
                        "{bank}: the log has no digests of this bank, and its PCRs were extended"
                    ),
                ),
                Replay::Unused => (
                    "-       ",
                    format!("{bank}: no firmware extended this bank; it proves nothing"),
                ),
                Replay::NoValues => (
                    "-       ",
                    format!("{bank}: the file has no values of this bank"),
                ),
            };
            paper.entry(mark, &told);
        }
        if !self.verified()
            && !self
                .0
                .values()
                .any(|replay| matches!(replay, Replay::Differs(_)))
        {
            paper.entry(
                "FAILED  ",
                "no bank of the log could be replayed onto the file",
            );
        }
    }

    pub(super) fn json(&self) -> Value {
        let banks = self.0.iter().map(|(bank, replay)| {
            let told = match replay {
                Replay::Same(pcrs) => json!({ "outcome": "replays", "pcrs": pcrs }),
                Replay::Differs(pcrs) => json!({ "outcome": "differs", "pcrs": pcrs }),
                Replay::Unexplained => json!({ "outcome": "not-in-log" }),
                Replay::Unused => json!({ "outcome": "unused" }),
                Replay::NoValues => json!({ "outcome": "no-values" }),
            };
            (bank.clone(), told)
        });
        Value::Object(banks.collect())
    }
}
