//! The file of `touchstone inventory import`: many machines, each on its line.

use anyhow::bail;
use serde::Deserialize;
use serde_json::{Value, json};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;

/// Most faults that are told at once.
const FAULTS_SHOWN: usize = 20;

/// One machine and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    number: usize,
    host: HostId,
    ek_digests: Vec<Sha256Digest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Machine {
    host: HostId,
    ek_digests: Vec<Sha256Digest>,
}

impl Line {
    /// As the attestor reads it.
    pub(super) fn body(&self) -> Value {
        json!({ "host": self.host, "ek_digests": self.ek_digests })
    }
}

/// Reads every machine of `content`; `each` is called once a line. Faults are told together, each with
/// its line.
pub(super) fn read(content: &str, each: impl Fn()) -> anyhow::Result<Vec<Line>> {
    let mut machines = Vec::new();
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(content.lines()) {
        each();
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (number == 1 && line.starts_with("host,")) {
            continue;
        }
        match machine(line) {
            Ok(Machine { host, ek_digests }) => machines.push(Line {
                number,
                host,
                ek_digests,
            }),
            Err(fault) => faults.push(format!("line {number}: {fault}")),
        }
    }
    let more = faults.len().saturating_sub(FAULTS_SHOWN);
    faults.truncate(FAULTS_SHOWN);
    match (faults.is_empty(), more) {
        (true, _) if machines.is_empty() => bail!("it names no machine"),
        (true, _) => Ok(machines),
        (false, 0) => bail!("{}", faults.join("; ")),
        (false, more) => bail!("{}; and {more} more", faults.join("; ")),
    }
}

fn machine(line: &str) -> Result<Machine, String> {
    if line.starts_with('{') {
        return serde_json::from_str(line).map_err(|error| error.to_string());
    }
    let mut columns = line.split(',').map(str::trim);
    let host = columns.next().unwrap_or_default();
    let host = host.parse().map_err(|error| format!("{error}"))?;
    let digests = columns.filter(|column| !column.is_empty());
    let ek_digests: Vec<Sha256Digest> = digests
        .map(|column| {
            let malformed = || {
                format!(
                    "`{}` is no SHA-256 in hexadecimal",
                    column.chars().take(70).collect::<String>().escape_debug()
                )
            };
            column.parse().map_err(|_| malformed())
        })
        .collect::<Result<_, _>>()?;
    if ek_digests.is_empty() {
        return Err("it names no endorsement key".to_owned());
    }
    Ok(Machine { host, ek_digests })
}

/// The attestor counts machines; people count lines.
pub(super) fn with_lines(error: &anyhow::Error, machines: &[Line]) -> anyhow::Error {
    const WORD: &str = "machine ";
    let text = format!("{error:#}");
    let mut told = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(WORD) {
        let (before, from) = rest.split_at(at);
        let after = from.strip_prefix(WORD).unwrap_or_default();
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, behind) = after.split_at(digits);
        let line = number
            .parse::<usize>()
            .ok()
            .and_then(|number| machines.get(number.checked_sub(1)?));
        told.push_str(before);
        match line {
            Some(line) => told.push_str(&format!("line {}", line.number)),
            None => told.push_str(&format!("{WORD}{number}")),
        }
        rest = behind;
    }
    told.push_str(rest);
    anyhow::anyhow!(told)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    fn digest(byte: &str) -> String {
        byte.repeat(32)
    }

    #[test]
    fn both_forms_and_what_counts_for_nothing() {
        let (a, b) = (digest("aa"), digest("bb"));
        let content = format!(
            "host,rsa,ecc\n# a comment\n\nde-1, {a},{b}\n{{\"host\":\"de-2\",\"ek_digests\":[\"{a}\"]}}\nde-3,{b},\n"
        );
        let machines = read(&content, || ()).unwrap();
        let seen: Vec<_> = machines
            .iter()
            .map(|line| (line.number, line.host.as_str(), line.ek_digests.len()))
            .collect();
        assert_eq!(seen, [(4, "de-1", 2), (5, "de-2", 1), (6, "de-3", 1)]);
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        let good = digest("aa");
        let content = format!(
            "de-1,{good}\nDE-1,{good}\nde-2\nde-3,xyz\n{{\"host\":\"de-4\"}}\n{{\"host\":\"de-5\",\"ek_digests\":[\"{good}\"],\"x\":1}}\n"
        );
        let said = read(&content, || ()).unwrap_err().to_string();
        for part in [
            "line 2: `DE-1` cannot name a host",
            "line 3: it names no endorsement key",
            "line 4: `xyz` is no SHA-256",
            "line 5: missing field `ek_digests`",
            "line 6: unknown field `x`",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("line 1:"), "{said}");
        assert!(read("# nothing\n", || ()).is_err());
    }

    #[test]
    fn what_the_attestor_says_of_machines_becomes_lines() {
        let content = format!("#\nde-1,{}\n\nde-2,{}\n", digest("aa"), digest("bb"));
        let machines = read(&content, || ()).unwrap();
        let error = anyhow::anyhow!("machine 2: `x` is of machine 1 already; machine 9: other");
        let told = with_lines(&error, &machines).to_string();
        assert_eq!(told, "line 4: `x` is of line 2 already; machine 9: other");
    }
}
