//! PCR values in a file: our JSON form, or what `tpm2_pcrread` prints.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{InspectError, read, unparsed};

/// Bank → PCR → value, bytes.
pub(super) type PcrBanks = BTreeMap<String, BTreeMap<u8, Vec<u8>>>;

/// `{"pcrs":{"sha256":{"0":"hex"}}}`; other fields are somebody else's.
#[derive(Deserialize)]
struct JsonForm {
    pcrs: BTreeMap<String, BTreeMap<u8, String>>,
}

/// Reads either form.
pub(super) fn read_banks(path: &Path) -> Result<PcrBanks, InspectError> {
    let text = String::from_utf8(read(path)?).map_err(|error| unparsed(path, "text", error))?;
    let banks = match text.trim_start().starts_with('{') {
        true => serde_json::from_str::<JsonForm>(&text)
            .map(|form| form.pcrs)
            .map_err(|error| unparsed(path, "a file of PCR values", error))?,
        false => printed(&text).ok_or_else(|| {
            let why = "neither JSON nor lines as `tpm2_pcrread` prints them";
            unparsed(path, "a file of PCR values", why)
        })?,
    };
    decoded(banks)
        .ok_or_else(|| unparsed(path, "a file of PCR values", "a value is not hexadecimal"))
}

/// `  sha256:` and then `    0 : 0xHEX`, or `    0 : HEX`.
fn printed(text: &str) -> Option<BTreeMap<String, BTreeMap<u8, String>>> {
    let mut banks: BTreeMap<String, BTreeMap<u8, String>> = BTreeMap::new();
    let mut bank = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (left, right) = line.split_once(':')?;
        let (left, right) = (left.trim(), right.trim());
        if right.is_empty() {
            bank = Some(left.to_owned());
        } else {
            let value = right.strip_prefix("0x").unwrap_or(right).to_lowercase();
            banks
                .entry(bank.clone()?)
                .or_default()
                .insert(left.parse().ok()?, value);
        }
    }
    (!banks.is_empty()).then_some(banks)
}

fn decoded(banks: BTreeMap<String, BTreeMap<u8, String>>) -> Option<PcrBanks> {
    banks
        .into_iter()
        .map(|(bank, values)| {
            let values: Option<BTreeMap<u8, Vec<u8>>> = values
                .into_iter()
                .map(|(index, value)| Some((index, hex::decode(value).ok()?)))
                .collect();
            Some((bank, values?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn both_forms_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pcrs");
        let value = "ab".repeat(32);
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_banks(&path)
        };
        let json = read(&format!(
            "{{\"licence\":\"x\",\"pcrs\":{{\"sha256\":{{\"10\":\"{value}\"}}}}}}"
        ));
        let printed = read(&format!("  sha256:\n    10: 0x{}\n", value.to_uppercase()));
        assert_eq!(json.unwrap(), printed.unwrap());
        for wrong in [
            "",
            "sha256",
            "{}",
            "  sha256:\n    x : 0x00\n",
            "  sha256:\n    1 : 0xzz\n",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
