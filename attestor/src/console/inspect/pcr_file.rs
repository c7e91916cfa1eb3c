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

/// Reads either form. Of known banks each value must be as long as the bank's digests.
pub(super) fn read_banks(path: &Path) -> Result<PcrBanks, InspectError> {
    let text = String::from_utf8(read(path)?).map_err(|error| unparsed(path, "text", error))?;
    let unfit = |why: String| unparsed(path, "a file of PCR values", why);
    let banks = match text.trim_start().starts_with('{') {
        true => serde_json::from_str::<JsonForm>(&text)
            .map(|form| form.pcrs)
            .map_err(|error| unfit(error.to_string()))?,
        false => printed(&text).ok_or_else(|| {
            unfit("neither JSON nor lines as `tpm2_pcrread` prints them".to_owned())
        })?,
    };
    decoded(banks).map_err(unfit)
}

/// `  sha256:` and then `    0 : 0xHEX`. A bank without values is one that the TPM does not use.
fn printed(text: &str) -> Option<BTreeMap<String, BTreeMap<u8, String>>> {
    let mut banks: BTreeMap<String, BTreeMap<u8, String>> = BTreeMap::new();
    let mut bank = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (left, right) = line.split_once(':')?;
        let (left, right) = (left.trim(), right.trim());
        if right.is_empty() {
            bank = Some(left.to_owned());
        } else {
            let values = banks.entry(bank.clone()?).or_default();
            let pcr = left.parse().ok()?;
            if values.insert(pcr, right.to_owned()).is_some() {
                return None;
            }
        }
    }
    (!banks.is_empty()).then_some(banks)
}

fn decoded(banks: BTreeMap<String, BTreeMap<u8, String>>) -> Result<PcrBanks, String> {
    let mut decoded = PcrBanks::new();
    for (bank, values) in banks {
        let size = match bank.as_str() {
            "sha1" => Some(20),
            "sha256" => Some(32),
            "sha384" => Some(48),
            "sha512" => Some(64),
            _ => None,
        };
        let into = decoded.entry(bank.clone()).or_default();
        for (pcr, value) in values {
            let bytes = unhex(&value).filter(|_| pcr < 24);
            let bytes = bytes.filter(|bytes| size.is_none_or(|size| size == bytes.len()));
            let bytes =
                bytes.ok_or_else(|| format!("`{pcr}: {value}` is no value of a PCR of {bank}"))?;
            into.insert(pcr, bytes);
        }
    }
    Ok(decoded)
}

/// Hexadecimal digits of either case, `0x` before them or not.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()
}

/// `0-9, 14`
pub(super) fn ranges(pcrs: &[u8]) -> String {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for pcr in pcrs {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*pcr) => *last = *pcr,
            _ => ranges.push((*pcr, *pcr)),
        }
    }
    let told = ranges.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn read_text(text: &str) -> Result<PcrBanks, InspectError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pcrs");
        std::fs::write(&path, text).unwrap();
        read_banks(&path)
    }

    #[test]
    fn both_forms_read_alike() {
        let (short, long) = ("ab".repeat(20), "cd".repeat(32));
        let json = read_text(&format!(
            "{{\"licence\":\"x\",\"pcrs\":{{\"sha1\":{{\"0\":\"{short}\"}},\
             \"sha256\":{{\"0\":\"{long}\",\"10\":\"{long}\"}}}}}}"
        ));
        let json = json.unwrap();
        assert_eq!(json["sha256"][&10], [0xcd; 32]);
        // As the tool prints it: upper case, unused banks without values.
        let printed = read_text(&format!(
            "  sha1:\n    0 : 0x{}\n  sha256:\n    0 : 0x{}\n    10: 0x{}\n  sha384:\n  sha512:\n",
            short.to_uppercase(),
            long.to_uppercase(),
            long.to_uppercase()
        ));
        assert_eq!(json, printed.unwrap());
        let bare = read_text(&format!("sha1:\n0:{short}\nsha256:\n0: {long}\n10 :{long}"));
        assert_eq!(json, bare.unwrap());
    }

    #[test]
    fn what_is_no_list_of_pcr_values_is_refused() {
        let value = "ab".repeat(32);
        for wrong in [
            "",
            "sha256",
            "{}",
            "sha256:\n",
            "  sha256:\n    x : 0x00\n",
            "  sha256:\n    1 : 0xzz\n",
            "  sha256:\n    1 : 0x00\n",
            &format!("    1 : 0x{value}\n"),
            &format!("  sha1:\n    1 : 0x{value}\n"),
            &format!("  sha256:\n    24 : 0x{value}\n"),
            &format!("  sha256:\n    1 : 0x{value}\n    1 : 0x{value}\n"),
            &format!("{{\"pcrs\":{{\"sha384\":{{\"0\":\"{value}\"}}}}}}"),
        ] {
            assert!(read_text(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn pcrs_are_told_by_ranges() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[0, 1, 2, 4, 5, 14]), "0-2, 4-5, 14");
    }
}
