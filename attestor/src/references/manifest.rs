//! A proven boot as a `ReferenceValues` manifest, YAML.

use std::fmt::{self, Write as _};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use touchstone_evidence::boot_log::{BOOT_PCRS, ReplayedLog};
use touchstone_evidence::claims::Claims;
use touchstone_evidence::pcr::PcrValues;
use touchstone_policies::prose;

use crate::appraisal::Replayed;

const PENDING: &str = "  lifeCycle: Pending\n";
const ACTIVE: &str = "  lifeCycle: Active\n";

/// The boot PCRs, command lines and events of a round. An error says why its boot is not proven.
pub(super) fn write(name: &str, replayed: &Replayed) -> Result<String, String> {
    let claims = &replayed.claims;
    let (Some(pcrs), Some(log)) = (claims.pcrs(), claims.boot().proven()) else {
        return Err(prose::summary(claims.boot().findings()));
    };
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _infallible = write_parts(&mut text, name, &provenance(claims, replayed), pcrs, log);
    Ok(text)
}

/// The same values, in force.
pub(super) fn activated(manifest: &str) -> String {
    manifest.replacen(PENDING, ACTIVE, 1)
}

fn provenance(claims: &Claims, replayed: &Replayed) -> String {
    let at = OffsetDateTime::from_unix_timestamp(replayed.at).ok();
    let at = at
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default();
    format!(
        "captured from host {} as it attested at {at}; evidence sha256:{}, audit entry {}",
        claims.host(),
        replayed.evidence,
        replayed.entry
    )
}

fn write_parts(
    out: &mut String,
    name: &str,
    provenance: &str,
    pcrs: &PcrValues,
    log: &ReplayedLog,
) -> fmt::Result {
    writeln!(out, "apiVersion: touchstone.dev/v1")?;
    writeln!(out, "kind: ReferenceValues")?;
    writeln!(out, "metadata:\n  name: {}", quoted(name))?;
    writeln!(out, "spec:\n  provenance: {}", quoted(provenance))?;
    out.push_str(PENDING);
    if log.startup_locality() != 0 {
        writeln!(out, "  startupLocality: {}", log.startup_locality())?;
    }
    writeln!(out, "  pcrs:")?;
    for (pcr, value) in BOOT_PCRS
        .iter()
        .filter_map(|pcr| Some((pcr, pcrs.value(*pcr)?)))
    {
        writeln!(out, "    {pcr}: [{}]", quoted(&value.to_string()))?;
    }
    let mut lines: Vec<&str> = log.kernel_command_lines().collect();
    lines.dedup();
    if !lines.is_empty() {
        writeln!(out, "  kernelCommandLines:")?;
    }
    for line in lines {
        writeln!(out, "    - {}", quoted(line))?;
    }
    writeln!(out, "  events:")?;
    for event in log.events() {
        let Some(digest) = event.sha256().filter(|_| BOOT_PCRS.contains(&event.pcr)) else {
            continue;
        };
        writeln!(out, "    - pcr: {}", event.pcr)?;
        writeln!(out, "      digest: {}", quoted(&digest.to_string()))?;
        writeln!(
            out,
            "      text: {}",
            quoted(&event.untrusted_description())
        )?;
    }
    Ok(())
}

/// A YAML double-quoted scalar: of what JSON escapes, YAML takes all.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
