//! One quote: signature, clock, selection, and whether nonce and values are those expected.

use std::path::Path;

use serde_json::json;
use touchstone_evidence::tpm::attest::{Attest, Attested};
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::tpm::signature::Signature;

use super::pcr_file::{PcrBanks, read_banks};
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
    let banks = pcrs.map(read_banks).transpose()?;

    let mut checks = vec![
        ("signature", parsed.verify(&key, &bytes).is_ok()),
        ("made by a TPM", attest.tpm_generated),
        ("a quote", matches!(attest.attested, Attested::Quote { .. })),
    ];
    if let Some(nonce) = nonce {
        let expected = hex::decode(nonce).ok();
        checks.push(("nonce", expected.as_deref() == Some(&attest.extra_data[..])));
    }
    if let Some(banks) = &banks {
        checks.push(("PCR values", covers(&attest, banks, parsed.scheme().hash())));
    }
    Ok(show(&attest, &checks))
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
fn covers(attest: &Attest, banks: &PcrBanks, hash: touchstone_evidence::tpm::hash::Hash) -> bool {
    let Attested::Quote {
        selection: Some(selection),
        digest,
    } = &attest.attested
    else {
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

fn show(attest: &Attest, checks: &[(&str, bool)]) -> Inspected {
    let verified = checks.iter().all(|(_, passed)| *passed);
    let clock = attest.clock_info;
    let (selection, digest) = match &attest.attested {
        Attested::Quote { selection, digest } => (*selection, hex::encode(digest)),
        _ => (None, String::new()),
    };
    let pcrs = selection.map(Vec::<u8>::from);
    let json = json!({
        "verified": verified,
        "checks": checks.iter().map(|(name, passed)| (*name, *passed)).collect::<std::collections::BTreeMap<_, _>>(),
        "pcrs": pcrs,
        "pcr_digest": digest,
        "nonce": hex::encode(&attest.extra_data),
        "qualified_signer": hex::encode(&attest.qualified_signer),
        "clock_milliseconds": clock.clock,
        "reset_count": clock.reset_count,
        "restart_count": clock.restart_count,
        "safe": clock.safe,
        "firmware_version": format!("{:#x}", attest.firmware_version),
    });
    let mut text = String::new();
    for (name, passed) in checks {
        let mark = if *passed { "ok      " } else { "FAILED  " };
        text.push_str(&format!("{mark}{name}\n"));
    }
    let selected = match pcrs {
        Some(pcrs) => format!("{pcrs:?} of the SHA-256 bank"),
        None => "not one selection of the SHA-256 bank".to_owned(),
    };
    text.push_str(&format!(
        "\nPCRs      {selected}\ndigest    {digest}\nnonce     {}\nsigner    {}\n\
         clock     {} ms powered, boot {}, restart {}{}\nfirmware  {:#x}",
        hex::encode(&attest.extra_data),
        hex::encode(&attest.qualified_signer),
        clock.clock,
        clock.reset_count,
        clock.restart_count,
        if clock.safe {
            ""
        } else {
            ", after a power cut"
        },
        attest.firmware_version,
    ));
    Inspected {
        json,
        text,
        verified,
    }
}
