//! The firmware's log: the boot as a picture, and whether it leads to the PCR values given.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use touchstone_evidence::boot_log::{BOOT_PCRS, Bank, BootLog, Phase};

use super::pcr_file::{PcrBanks, read_banks};
use super::{InspectError, Inspected, read, unparsed};

/// Banks that replay, by the names that PCR files use.
const BANKS: [(&str, Bank); 4] = [
    ("sha1", Bank::Sha1),
    ("sha256", Bank::Sha256),
    ("sha384", Bank::Sha384),
    ("sha512", Bank::Sha512),
];

pub(super) fn inspect(file: &Path, pcrs: Option<&Path>) -> Result<Inspected, InspectError> {
    let bytes = read(file)?;
    let log = BootLog::parse(&bytes).map_err(|error| unparsed(file, "a boot event log", error))?;
    let recorded = pcrs.map(read_banks).transpose()?;
    // The best bank that the log has is the one that events are shown with.
    let shown = [Bank::Sha256, Bank::Sha384, Bank::Sha512, Bank::Sha1]
        .into_iter()
        .find(|bank| log.banks().contains(bank))
        .unwrap_or(Bank::Sha256);
    let disorder = log.disorder(shown);
    let compared = recorded.as_ref().map(|banks| compare(&log, banks));

    let mut text = picture(&log, shown);
    for breach in &disorder {
        text.push_str(&format!("\nORDER   {breach}"));
    }
    let (verified, banks) = match &compared {
        None => {
            text.push_str("\nnot replayed: give the PCR values with --pcrs");
            (disorder.is_empty(), Value::Null)
        }
        Some(compared) => {
            text.push_str(&compared_lines(compared));
            let replays = !compared.is_empty() && compared.values().all(Vec::is_empty);
            (disorder.is_empty() && replays, json!(compared))
        }
    };
    Ok(Inspected {
        json: json!({
            "verified": verified,
            "events": events(&log, shown),
            "disorder": disorder.iter().map(|breach| breach.finding()).collect::<Vec<_>>(),
            "mismatches": banks,
        }),
        text,
        verified,
    })
}

/// For each bank of the file that the log declares: the PCRs of the boot that differ.
fn compare(log: &BootLog, recorded: &PcrBanks) -> BTreeMap<&'static str, Vec<u8>> {
    let mut compared = BTreeMap::new();
    for (name, bank) in BANKS {
        let (Some(values), Some(replayed)) = (recorded.get(name), log.replay(bank)) else {
            continue;
        };
        let differs = |pcr: &u8| {
            let zero = vec![0; bank.digest_size().unwrap_or_default()];
            let replayed = replayed
                .get(pcr)
                .map_or(zero, |value| value.as_bytes().to_vec());
            values.get(pcr).is_some_and(|value| *value != replayed)
        };
        compared.insert(name, BOOT_PCRS.into_iter().filter(differs).collect());
    }
    compared
}

fn compared_lines(compared: &BTreeMap<&'static str, Vec<u8>>) -> String {
    if compared.is_empty() {
        return "\nFAILED  the PCR file and the log have no bank in common".to_owned();
    }
    compared
        .iter()
        .map(|(bank, differing)| match differing.as_slice() {
            [] => format!("\nok      {bank}: the log leads to the values given"),
            differing => {
                format!("\nFAILED  {bank}: the log leads to other values of PCRs {differing:?}")
            }
        })
        .collect()
}

/// One line an event, under the phase that it belongs to. A mark says whether its digest proves the text.
fn picture(log: &BootLog, bank: Bank) -> String {
    let mut text = String::new();
    let mut phase = None;
    for event in log.events() {
        let told = event.describe(bank);
        if phase != Some(told.untrusted_phase) {
            text.push_str(&format!("{}\n", phase_name(told.untrusted_phase)));
            phase = Some(told.untrusted_phase);
        }
        let mark = if told.proven { '=' } else { '?' };
        text.push_str(&format!(
            "  {:>4}  PCR {:<2} {mark} {}  {}\n",
            event.number, event.pcr, told.untrusted_kind, told.text
        ));
    }
    text.push_str(&format!(
        "\n{} events; `=`: the digest is of what is shown, `?`: it is only claimed",
        log.events().len()
    ));
    text
}

fn events(log: &BootLog, bank: Bank) -> Vec<Value> {
    log.events()
        .iter()
        .map(|event| {
            let told = event.describe(bank);
            json!({
                "number": event.number,
                "pcr": event.pcr,
                "kind": told.untrusted_kind,
                "phase": phase_name(told.untrusted_phase),
                "text": told.text,
                "proven": told.proven,
                "digest": event.digest(bank).map(|digest| hex::encode(digest.as_bytes())),
            })
        })
        .collect()
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Firmware => "firmware",
        Phase::SecureBootPolicy => "secure boot policy",
        Phase::BootLoader => "boot loader",
        Phase::Kernel => "kernel",
        Phase::CommandLine => "kernel command line",
        Phase::Other => "other",
    }
}
