//! The kernel's runtime list: what was measured, and whether it leads to PCR 10, in each bank given.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::ima::{
    Entry, ImaError, ImaList, ImaState, PcrDigest, QuotedPcrs, ReplayedIma,
};

use super::pcr_file::{PcrBanks, read_banks};
use super::{InspectError, Inspected, read, unparsed};

pub(super) fn inspect(file: &Path, pcrs: Option<&Path>) -> Result<Inspected, InspectError> {
    let bytes = read(file)?;
    let list = ImaList::parse(&bytes)
        .map_err(|error| unparsed(file, "a runtime measurement list", error))?;
    let banks = pcrs.map(read_banks).transpose()?.unwrap_or_default();
    let replays: BTreeMap<&str, Result<u64, ImaError>> = ["sha1", "sha256"]
        .into_iter()
        .filter(|bank| banks.contains_key(*bank))
        .map(|bank| (bank, replay(&list, &banks, bank)))
        .collect();
    Ok(show(&list, pcrs.is_some(), &replays))
}

/// How many entries lead to the bank's PCR 10.
fn replay(list: &ImaList<'_>, banks: &PcrBanks, bank: &str) -> Result<u64, ImaError> {
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
    Ok(replayed.state().entries)
}

fn show(
    list: &ImaList<'_>,
    asked: bool,
    replays: &BTreeMap<&str, Result<u64, ImaError>>,
) -> Inspected {
    let entries = list.untrusted_entries().count();
    let violations = list
        .untrusted_entries()
        .filter(|entry| matches!(entry, Entry::Violation { .. }))
        .count();
    let verified = !asked || (!replays.is_empty() && replays.values().all(Result::is_ok));
    let mut text = format!("{entries} entries, {violations} violations\n");
    let mut banks = serde_json::Map::new();
    for (bank, replay) in replays {
        let (line, value) = match replay {
            Ok(proven) => (
                format!("ok      {bank}: {proven} entries lead to PCR 10"),
                json!({ "replays": true, "entries": proven }),
            ),
            Err(error) => (
                format!("FAILED  {bank}: {error}"),
                json!({ "replays": false, "code": error.finding().code, "error": error.to_string() }),
            ),
        };
        text.push_str(&line);
        text.push('\n');
        banks.insert((*bank).to_owned(), value);
    }
    if !asked {
        text.push_str("not replayed: give the PCR values with --pcrs\n");
    } else if replays.is_empty() {
        text.push_str("FAILED  the PCR file holds neither a sha1 nor a sha256 bank\n");
    }
    Inspected {
        json: json!({
            "verified": verified,
            "entries": entries,
            "violations": violations,
            "banks": Value::Object(banks),
        }),
        text: text.trim_end().to_owned(),
        verified,
    }
}
