//! The kernel's runtime list: what was measured, and whether it leads to PCR 10, in each bank given.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::ima::{
    BootAggregate, Entry, Extension, ImaError, ImaList, ImaState, PcrDigest, QuotedPcrs,
    ReplayedIma,
};

use super::paper::Paper;
use super::pcr_file::{PcrBanks, ranges, read_banks};
use super::{InspectError, Inspected, read, unparsed};

type Replays<'a> = BTreeMap<&'a str, Result<ImaState, ImaError>>;

/// Banks that the kernel extends in a way known here.
const REPLAYED: [&str; 2] = ["sha1", "sha256"];

pub(super) fn inspect(file: &Path, pcrs: Option<&Path>) -> Result<Inspected, InspectError> {
    let bytes = read(file)?;
    let list = ImaList::parse(&bytes)
        .map_err(|error| unparsed(file, "a runtime measurement list", error))?;
    let banks = pcrs.map(read_banks).transpose()?.unwrap_or_default();
    if let Some(file) = pcrs {
        whole(file, &banks)?;
    }
    let replays: Replays<'_> = REPLAYED
        .into_iter()
        .filter(|bank| banks.contains_key(*bank))
        .map(|bank| (bank, replay(&list, &banks, bank)))
        .collect();
    Ok(show(&Summary::of(&list), pcrs.is_some(), &replays))
}

/// Values that are absent are no lie of the list's: there is nothing to replay onto.
fn whole(file: &Path, banks: &PcrBanks) -> Result<(), InspectError> {
    for (bank, values) in banks
        .iter()
        .filter(|(bank, _)| REPLAYED.contains(&bank.as_str()))
    {
        let absent: Vec<u8> = (0..=10).filter(|pcr| !values.contains_key(pcr)).collect();
        if !absent.is_empty() {
            let why = format!("its {bank} bank has no PCR {}", ranges(&absent));
            return Err(unparsed(file, "enough to replay onto", why));
        }
    }
    Ok(())
}

/// Where replay onto the bank's PCR 10 arrives.
fn replay(list: &ImaList<'_>, banks: &PcrBanks, bank: &str) -> Result<ImaState, ImaError> {
    let values: BTreeMap<u8, PcrDigest> = banks
        .get(bank)
        .into_iter()
        .flatten()
        .filter_map(|(index, value)| {
            let digest = match bank {
                "sha1" => PcrDigest::Sha1(value.as_slice().try_into().ok()?),
                _ => PcrDigest::Sha256(Sha256Digest::try_from(value.as_slice()).ok()?),
            };
            Some((*index, digest))
        })
        .collect();
    let quoted = QuotedPcrs::recorded(&values)?;
    let replayed = ReplayedIma::verify(list, &ImaState::before_boot(&quoted), &quoted)?;
    Ok(*replayed.state())
}

/// What the list claims, as a whole.
struct Summary {
    entries: usize,
    templates: BTreeMap<&'static str, usize>,
    signed: usize,
    violations: Vec<String>,
    first: Option<String>,
    last: Option<String>,
}

impl Summary {
    fn of(list: &ImaList<'_>) -> Self {
        let mut templates = BTreeMap::new();
        for template in list.untrusted_templates() {
            let count: &mut usize = templates.entry(template).or_default();
            *count = count.saturating_add(1);
        }
        let signed =
            |entry: &Entry<'_>| matches!(entry, Entry::Measured(it) if it.signature.is_some());
        let violated = |entry| match entry {
            Entry::Violation { untrusted_path } => Some(untrusted_path.to_string()),
            Entry::Measured(_) => None,
        };
        let entries = || list.untrusted_entries();
        Self {
            entries: entries().count(),
            templates,
            signed: entries().filter(signed).count(),
            violations: entries().filter_map(violated).collect(),
            first: entries().next().map(path),
            last: entries().last().map(path),
        }
    }
}

fn path(entry: Entry<'_>) -> String {
    match entry {
        Entry::Measured(measured) => measured.path.to_string(),
        Entry::Violation { untrusted_path } => untrusted_path.to_string(),
    }
}

fn show(list: &Summary, asked: bool, replays: &Replays<'_>) -> Inspected {
    let verified = !asked || (!replays.is_empty() && replays.values().all(Result::is_ok));
    let mut paper = Paper::new();
    let templates = list.templates.iter();
    let templates: Vec<String> = templates
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let dash = || "-".to_owned();
    for (head, body) in [
        ("entries     ", list.entries.to_string()),
        ("templates   ", templates.join(", ")),
        (
            "signatures  ",
            format!("{} entries carry one; none was verified", list.signed),
        ),
        ("violations  ", violations(&list.violations)),
        ("first       ", list.first.clone().unwrap_or_else(dash)),
        ("last        ", list.last.clone().unwrap_or_else(dash)),
    ] {
        paper.entry(head, &body);
    }
    paper.blank();
    let mut banks = serde_json::Map::new();
    for (bank, replay) in replays {
        banks.insert(
            (*bank).to_owned(),
            show_replay(&mut paper, bank, replay, list),
        );
    }
    if !asked {
        paper.line("not replayed: give the PCR values with --pcrs");
    } else if replays.is_empty() {
        paper.entry(
            "FAILED  ",
            "the PCR file holds neither a sha1 nor a sha256 bank",
        );
    }
    Inspected {
        json: json!({
            "verified": verified,
            "entries": list.entries,
            "templates": list.templates,
            "signed_entries": list.signed,
            "violations": list.violations.len(),
            "violated_paths": list.violations,
            "first": list.first,
            "last": list.last,
            "banks": Value::Object(banks),
        }),
        text: paper.text(),
        verified,
    }
}

/// The count, and the first few.
fn violations(paths: &[String]) -> String {
    match paths {
        [] => "0".to_owned(),
        _ => {
            let shown: Vec<&str> = paths.iter().take(5).map(String::as_str).collect();
            let more = if paths.len() > shown.len() {
                ", …"
            } else {
                ""
            };
            format!("{}: {}{more}", paths.len(), shown.join(", "))
        }
    }
}

fn show_replay(
    paper: &mut Paper,
    bank: &str,
    replay: &Result<ImaState, ImaError>,
    list: &Summary,
) -> Value {
    match replay {
        Ok(state) => {
            paper.entry(
                "ok      ",
                &format!("{bank}: {} entries lead to PCR 10", state.entries),
            );
            let later = u64::try_from(list.entries)
                .unwrap_or(u64::MAX)
                .saturating_sub(state.entries);
            if later > 0 {
                paper.entry(
                    "        ",
                    &format!("{later} more came after these values: not proven"),
                );
            }
            paper.entry(
                "        ",
                &format!("boot aggregate: {}", aggregate(state.boot_aggregate)),
            );
            paper.entry(
                "        ",
                &format!("extended: {}", extension(state.extension)),
            );
            json!({
                "replays": true,
                "entries": state.entries,
                "boot_aggregate": state.boot_aggregate,
                "extension": state.extension,
            })
        }
        Err(error) => {
            paper.entry("FAILED  ", &format!("{bank}: {error}"));
            json!({ "replays": false, "code": error.finding().code, "error": error.to_string() })
        }
    }
}

fn aggregate(aggregate: Option<BootAggregate>) -> &'static str {
    match aggregate {
        Some(BootAggregate::PcrsTo9) => "over PCRs 0 to 9 of the file",
        Some(BootAggregate::PcrsTo7) => "over PCRs 0 to 7 of the file",
        Some(BootAggregate::BankUnquoted) => "over another bank, so nothing is proven of it",
        None => "none",
    }
}

fn extension(extension: Option<Extension>) -> &'static str {
    match extension {
        Some(Extension::TemplateHash) => "the bank's own hash of the template data",
        Some(Extension::PaddedSha1) => {
            "the SHA-1 template hash and zeros, so the list is only as strong as SHA-1"
        }
        None => "nothing",
    }
}
