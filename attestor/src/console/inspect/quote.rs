//! One quote: signature, clock, selection, and whether nonce and values are those expected.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use touchstone_evidence::pcr::PcrSelection;
use touchstone_evidence::tpm::attest::{Attest, Attested};
use touchstone_evidence::tpm::hash::Hash;
use touchstone_evidence::tpm::public::{Curve, Key, Public, Scheme};
use touchstone_evidence::tpm::signature::Signature;

use super::paper::Paper;
use super::pcr_file::{PcrBanks, ranges, read_banks, unhex};
use super::{InspectError, Inspected, read, unparsed};

pub(super) fn inspect(
    ak: &Path,
    message: &Path,
    signature: &Path,
    nonce: Option<&str>,
    pcrs: Option<&Path>,
) -> Result<Inspected, InspectError> {
    let key = read_public(ak)?;
    let bytes = read(message)?;
    let attest =
        Attest::parse(&bytes).map_err(|error| unparsed(message, "a TPMS_ATTEST", error))?;
    let parsed = Signature::parse(&read(signature)?)
        .map_err(|error| unparsed(signature, "a TPMT_SIGNATURE", error))?;
    let nonce = nonce
        .map(|nonce| unhex(nonce).ok_or_else(|| InspectError::Nonce(nonce.to_owned())))
        .transpose()?;
    let banks = pcrs.map(read_banks).transpose()?;

    let one_bank = matches!(
        &attest.attested,
        Attested::Quote { selection, .. } if PcrSelection::only_sha256(selection).is_some()
    );
    let mut checks = vec![
        ("signature", parsed.verify(&key, &bytes).is_ok()),
        ("made by a TPM", attest.tpm_generated),
        ("a quote", matches!(attest.attested, Attested::Quote { .. })),
        ("one bank, SHA-256", one_bank),
    ];
    if let Some(nonce) = &nonce {
        checks.push(("nonce", *nonce == attest.extra_data));
    }
    if let Some(banks) = &banks {
        checks.push(("PCR values", covers(&attest, banks, parsed.scheme().hash())));
    }
    Ok(show(&key, parsed.scheme(), &attest, &checks))
}

fn read_public(path: &Path) -> Result<Public, InspectError> {
    let bytes = read(path)?;
    // A TPM2B_PUBLIC begins with the size of what follows.
    let body = match bytes.split_first_chunk::<2>() {
        Some((size, rest)) if usize::from(u16::from_be_bytes(*size)) == rest.len() => rest,
        _ => &bytes,
    };
    Public::parse(body).map_err(|error| unparsed(path, "a TPM public key", error))
}

/// Whether the values given are all that were selected, and hash to the quoted digest.
fn covers(attest: &Attest, banks: &PcrBanks, hash: Hash) -> bool {
    let Attested::Quote { selection, digest } = &attest.attested else {
        return false;
    };
    let Some(selection) = PcrSelection::only_sha256(selection) else {
        return false;
    };
    let Some(bank) = banks.get("sha256") else {
        return false;
    };
    let values: Option<Vec<&[u8]>> = selection
        .indices()
        .map(|index| bank.get(&index).map(Vec::as_slice))
        .collect();
    values.is_some_and(|values| hash.digest(&values) == *digest)
}

fn show(key: &Public, scheme: Scheme, attest: &Attest, checks: &[(&str, bool)]) -> Inspected {
    let verified = checks.iter().all(|(_, passed)| *passed);
    let clock = attest.clock_info;
    let (selection, digest) = match &attest.attested {
        Attested::Quote { selection, digest } => {
            (PcrSelection::only_sha256(selection), hex::encode(digest))
        }
        _ => (None, String::new()),
    };
    let pcrs = selection.map(Vec::<u8>::from);
    let name = hex::encode(key.name().as_bytes());
    let json = json!({
        "verified": verified,
        "checks": checks.iter().copied().collect::<BTreeMap<_, _>>(),
        "pcrs": pcrs,
        "pcr_digest": digest,
        "nonce": hex::encode(&attest.extra_data),
        "key": { "kind": kind(key), "name": name, "spki_digest": key.spki_digest() },
        "scheme": scheme_name(scheme),
        "qualified_signer": hex::encode(&attest.qualified_signer),
        "clock_milliseconds": clock.clock,
        "reset_count": clock.reset_count,
        "restart_count": clock.restart_count,
        "safe": clock.safe,
        "firmware_version": format!("{:#x}", attest.firmware_version),
    });

    let mut paper = Paper::new();
    for (name, passed) in checks {
        paper.entry(if *passed { "ok      " } else { "FAILED  " }, name);
    }
    paper.blank();
    let selected = match &pcrs {
        Some(pcrs) => format!("{} of the SHA-256 bank", ranges(pcrs)),
        None => "not one selection of the SHA-256 bank".to_owned(),
    };
    let safe = match clock.safe {
        true => "",
        false => "; after a stop without shutdown, so the clock may have gone back a little",
    };
    let moment = format!(
        "{} powered ({} ms), reset {}, restart {}{safe}",
        span(clock.clock),
        clock.clock,
        clock.reset_count,
        clock.restart_count
    );
    for (head, body) in [
        ("PCRs      ", selected),
        ("digest    ", digest),
        ("nonce     ", hex::encode(&attest.extra_data)),
        ("key       ", format!("{}, Name {name}", kind(key))),
        ("scheme    ", scheme_name(scheme).to_owned()),
        ("signer    ", hex::encode(&attest.qualified_signer)),
        ("clock     ", moment),
        ("firmware  ", format!("{:#x}", attest.firmware_version)),
    ] {
        paper.entry(head, &body);
    }
    Inspected {
        json,
        text: paper.text(),
        verified,
    }
}

fn kind(key: &Public) -> String {
    match key.key() {
        Key::Rsa { modulus } => format!("RSA-{}", modulus.len().saturating_mul(8)),
        Key::Ec { curve, .. } => match curve {
            Curve::P256 => "P-256".to_owned(),
            Curve::P384 => "P-384".to_owned(),
        },
    }
}

fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Rsassa(Hash::Sha256) => "RSASSA with SHA-256",
        Scheme::Rsassa(Hash::Sha384) => "RSASSA with SHA-384",
        Scheme::RsaPss(Hash::Sha256) => "RSAPSS with SHA-256",
        Scheme::RsaPss(Hash::Sha384) => "RSAPSS with SHA-384",
        Scheme::Ecdsa(Hash::Sha256) => "ECDSA with SHA-256",
        Scheme::Ecdsa(Hash::Sha384) => "ECDSA with SHA-384",
    }
}

/// `2 d 3 h 4 min 5 s`, from the largest unit that counts.
fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let told: Vec<String> = parts
        .iter()
        .skip_while(|(count, unit)| *count == 0 && *unit != "s")
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    told.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_as_people_tell_time() {
        for (milliseconds, told) in [
            (0, "0 s"),
            (59_841, "59 s"),
            (3_600_000, "1 h 0 min 0 s"),
            (183_845_000, "2 d 3 h 4 min 5 s"),
        ] {
            assert_eq!(span(milliseconds), told);
        }
    }
}
