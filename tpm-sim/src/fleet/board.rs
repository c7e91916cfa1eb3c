//! The fleet's table: alive on a terminal, elsewhere lines whenever it changes.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};

use super::standing::{Stand, Standing};
use crate::cli::Fleet;

/// Most hosts in the live table: what does not fit onto a terminal cannot be drawn anew. Those with findings come
/// first.
const LIVE: usize = 15;
/// What is seen while the fleet runs.
pub(super) struct Board {
    spinner: Option<ProgressBar>,
    /// What was said last.
    said: String,
    /// What was said last of each host that is not affirming.
    told: BTreeMap<String, String>,
}

impl Board {
    pub(super) fn start(options: &Fleet) -> Self {
        let what = format!(
            "{} hosts, a round every {} s; Ctrl-C ends them",
            options.hosts(),
            options.interval
        );
        if !io::stderr().is_terminal() {
            eprintln!("{what}");
            return Self {
                spinner: None,
                said: String::new(),
                told: BTreeMap::new(),
            };
        }
        let spinner = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} ({elapsed})\n{msg}") {
            spinner.set_style(style);
        }
        spinner.set_prefix(what);
        spinner.enable_steady_tick(Duration::from_millis(200));
        Self {
            spinner: Some(spinner),
            said: String::new(),
            told: BTreeMap::new(),
        }
    }

    /// Shows what is known now.
    pub(super) fn show(&mut self, standing: &Standing) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(live(standing));
            return;
        }
        let lines = changes(standing, &mut self.told);
        let line = summary(standing);
        if line != self.said {
            eprintln!("{lines}{line}");
            self.said = line;
        } else {
            eprint!("{lines}");
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn clear(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// A line for each host of which something else is found than was `told`.
fn changes(standing: &Standing, told: &mut BTreeMap<String, String>) -> String {
    let mut lines = String::new();
    for stand in standing.hosts.iter().filter(|stand| stand.tier.is_some()) {
        let found = stand.findings.join(", ");
        if told.get(&stand.host).map_or("", String::as_str) != found {
            let booted = booted(stand);
            lines += &format!("{} ({booted}) is {}: {found}\n", stand.host, stand.tier());
            told.insert(stand.host.clone(), found);
        }
    }
    lines
}

fn booted(stand: &Stand) -> &'static str {
    match stand.broken {
        true => "altered",
        false => "known-good",
    }
}

/// How many there are of each tier.
fn summary(standing: &Standing) -> String {
    let tiers = standing.tiers();
    let tiers: Vec<String> = tiers
        .iter()
        .map(|(tier, count)| format!("{count} {tier}"))
        .collect();
    tiers.join(", ")
}

fn live(standing: &Standing) -> String {
    let mut hosts: Vec<&Stand> = standing.hosts.iter().collect();
    hosts.sort_by_key(|stand| stand.findings.is_empty());
    let more = hosts.len().saturating_sub(LIVE);
    hosts.truncate(LIVE);
    let mut table = rows(&hosts);
    // It is drawn on standard error, whose width counts wherever standard output goes.
    table.use_stderr();
    let mut shown = format!("{table}\n{}", summary(standing));
    if more > 0 {
        shown += &format!(" ({more} hosts are not shown)");
    }
    shown
}

/// All hosts, to stay.
pub(super) fn table(standing: &Standing) -> String {
    let hosts: Vec<&Stand> = standing.hosts.iter().collect();
    let mut table = rows(&hosts);
    if !io::stdout().is_terminal() {
        // One line each, so that a file can be searched.
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    format!("{table}\n{}", summary(standing))
}

fn rows(hosts: &[&Stand]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["host", "booted", "tier", "why"]);
    for stand in hosts {
        let why = stand.findings.join(", ");
        let tier = match stand.tier.is_some() && !stand.fresh {
            true => format!("{} (expired)", stand.tier()),
            false => stand.tier().to_owned(),
        };
        table.add_row([&stand.host, booted(stand), &tier, &why]);
    }
    table
}
