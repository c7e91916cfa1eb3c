//! How the outcome looks: one table and what it does not say, or JSON.

use std::io::{self, IsTerminal as _, Write};

use comfy_table::presets::UTF8_FULL;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::encrypted::{self, Outcome};
use super::expectation::{Mismatch, admission};
use super::progress::StageTime;
use super::row::Row;

/// Width where there is no terminal to ask.
const WIDTH: u16 = 110;

/// Everything that came of a demo.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) as_expected: bool,
    pub(super) mismatches: Vec<Mismatch>,
    pub(super) rows: Vec<Row>,
    /// With encrypted images: one for each host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) encrypted: Vec<Outcome>,
    pub(super) audit: Audit,
    pub(super) stages: Vec<StageTime>,
    pub(super) seconds: f64,
}

/// The exported log, as the offline check found it.
#[derive(Serialize)]
pub(super) struct Audit {
    pub(super) verified: bool,
    pub(super) size: u64,
    pub(super) root: String,
}

impl Report {
    /// To standard output.
    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, self)?;
            return writeln!(out);
        }
        writeln!(out, "\n{}", table(&self.rows))?;
        for line in not_demanded(&self.rows) {
            writeln!(out, "{line}")?;
        }
        if !self.encrypted.is_empty() {
            let mut table = empty_table();
            encrypted::fill(&mut table, &self.encrypted);
            writeln!(out, "\n{table}")?;
        }
        print_end(&mut out, self.seconds, &self.stages, &self.mismatches)
    }
}

/// How long it took, and each cell that is not as it should be.
pub(super) fn print_end(
    out: &mut impl Write,
    seconds: f64,
    stages: &[StageTime],
    mismatches: &[Mismatch],
) -> io::Result<()> {
    let stages: Vec<_> = stages
        .iter()
        .map(|stage| format!("{} {:.1} s", stage.name, stage.seconds))
        .collect();
    writeln!(out, "\ntook {seconds:.1} s: {}", stages.join("; "))?;
    for mismatch in mismatches {
        let Mismatch {
            host,
            cell,
            expected,
            seen,
        } = mismatch;
        let seen = seen.replace('\n', "; ");
        writeln!(
            out,
            "NOT AS EXPECTED  {host}, {cell}: expected {expected}; seen {seen}"
        )?;
    }
    if mismatches.is_empty() {
        writeln!(out, "every row is as expected")?;
    }
    Ok(())
}

/// A table as wide as the terminal.
pub(super) fn empty_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    table
}

fn table(rows: &[Row]) -> Table {
    let mut table = empty_table();
    table.set_header(["host", "place", "tier", "why", "pod payments/api"]);
    for row in rows {
        let place = row.host.place.as_ref();
        table.add_row([
            row.host.host.clone(),
            place.map_or_else(|| "-".to_owned(), ToString::to_string),
            row.host.tier.clone(),
            row.why(),
            admission(row.boot_and_place.admitted),
        ]);
    }
    table
}

/// What the hosts were not asked to prove, so that nobody takes the tier for more than it is.
fn not_demanded(rows: &[Row]) -> [String; 2] {
    let seen = |claim: &str| {
        let mut tiers: Vec<_> = rows
            .iter()
            .filter_map(|row| row.host.vector.get(claim))
            .map(String::as_str)
            .collect();
        tiers.dedup();
        tiers.join(", ")
    };
    [
        "The policy demands a known-good boot and a place in Germany. It does not demand, and no tier above says,"
            .to_owned(),
        format!(
            "that the TPM is genuine (hardware: {}; these are simulators) nor what ran since boot (executables: {}).",
            seen("hardware"),
            seen("executables")
        ),
    ]
}
