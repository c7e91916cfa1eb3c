//! A report for people.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::admissions::Found;
use super::latency::Latency;
use super::report::{Phase, Report};
use super::tally::AFFIRMING;

/// Width where there is no terminal to ask.
const WIDTH: u16 = 110;
/// What is not known.
const NOTHING: &str = "-";

/// The table and what it leads to.
pub(crate) fn text(report: &Report) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    let phases: Vec<&Phase> = [Some(&report.first), report.steady.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    let header = ["", "first rounds", steady_header(report)];
    table.set_header(header.iter().take(1 + phases.len()));
    for (name, cell) in rows() {
        let cells = phases.iter().map(|phase| cell(phase));
        table.add_row([name.to_owned()].into_iter().chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n{}", lines(report).join("\n"))
}

fn steady_header(report: &Report) -> &'static str {
    match report.reboot {
        true => "rounds after reboots",
        false => "steady rounds",
    }
}

type Row = (&'static str, fn(&Phase) -> String);

fn rows() -> [Row; 16] {
    [
        ("rounds due", |phase| phase.due.to_string()),
        ("appraised", |phase| phase.rounds.to_string()),
        ("affirming", |phase| phase.affirming().to_string()),
        ("other tiers", |phase| {
            let mut others = phase.tiers.clone();
            others.remove(AFFIRMING);
            counts(&others)
        }),
        ("refused", |phase| counts(&phase.refusals)),
        ("without an answer", |phase| {
            let lost: u64 = phase.lost.values().sum();
            lost.to_string()
        }),
        ("not begun in time", |phase| phase.not_begun.to_string()),
        ("rounds/s", |phase| {
            format!("{:.1}", phase.rounds_per_second)
        }),
        ("latency p50 / p90, ms", |phase| {
            latencies(phase, |all| (all.p50, all.p90))
        }),
        ("latency p99 / max, ms", |phase| {
            latencies(phase, |all| (all.p99, all.max))
        }),
        ("evidence, bytes each", |phase| {
            known(phase.evidence_bytes_each)
        }),
        ("answer, bytes each", |phase| known(phase.answer_bytes_each)),
        ("connections opened", |phase| {
            phase.connections_opened.to_string()
        }),
        ("challenges asked for", |phase| {
            phase.challenges_asked.to_string()
        }),
        ("server CPU, µs each", |phase| {
            known(phase.server_cpu_micros_each.map(f64::round))
        }),
        ("changes in one commit", |phase| {
            known(phase.commit_group_size.map(f64::round))
        }),
    ]
}

/// What does not stand in a table.
fn lines(report: &Report) -> Vec<String> {
    let enrolments = &report.enrolments;
    let mut lines = vec![format!(
        "{} hosts over at most {} connections to {}; {} enrolments in {:.1} s ({:.0}/s, server CPU {} µs each)",
        report.hosts,
        report.connections,
        report.server,
        enrolments.count,
        enrolments.seconds,
        enrolments.per_second,
        known(enrolments.server_cpu_micros_each.map(f64::round)),
    )];
    lines.push(format!(
        "a P-256 verification takes {:.0} µs of CPU here",
        report.p256_verification_micros
    ));
    if let Some(bytes) = report.server_resident_bytes {
        lines.push(format!("server memory: {} MiB", bytes >> 20));
    }
    if let Some(why) = &report.metrics_absent {
        lines.push(format!(
            "what the server spent is not known: {why}; load one that serves metrics to its operator"
        ));
    }
    let phases = [Some(&report.first), report.steady.as_ref()];
    for phase in phases.into_iter().flatten() {
        lines.extend(
            phase
                .lost
                .keys()
                .take(3)
                .map(|why| format!("no answer: {why}")),
        );
        if !phase.findings.is_empty() {
            lines.push(format!("findings: {}", counts(&phase.findings)));
        }
    }
    if let Some(found) = &report.admissions {
        lines.extend(bindings(found));
    }
    lines.push(match report.as_it_should_be() {
        true => "every round was answered as affirming".to_owned(),
        false if report.all_affirming => "NOT every pod was admitted, and the decision written down".to_owned(),
        false => "NOT every round was answered as affirming; `touchstone host show HOST` says why of a verdict, \
                  docs/findings.md of a refusal"
            .to_owned(),
    });
    lines
}

/// What became of the pods.
fn bindings(found: &Found) -> Vec<String> {
    let lost: u64 = found.lost.values().sum();
    let latency = |latency: Option<Latency>| {
        latency.map_or_else(
            || NOTHING.to_owned(),
            |all| {
                format!(
                    "p50 {:.2}, p99 {:.2}, max {:.2} ms",
                    all.p50, all.p99, all.max
                )
            },
        )
    };
    let mut lines = vec![
        format!(
            "{} pods made known ({:.0}/s, server CPU {} µs each)",
            found.pods,
            found.creations_per_second,
            known(found.server_cpu_micros_each_creation.map(f64::round)),
        ),
        format!(
            "{} bindings due at {}/s: {} admitted, {} refused, {} without an entry, {lost} without an answer; \
             server CPU {} µs each",
            found.due,
            found.rate,
            found.admitted,
            found.refused,
            found.unwritten,
            known(found.server_cpu_micros_each.map(f64::round)),
        ),
        format!("bindings: {}", latency(found.latency_milliseconds)),
        format!(
            "{} of {} trials of the same allowed, which write nothing; server CPU {} µs each; {}",
            found.trials.allowed,
            found.trials.due,
            known(found.trials.server_cpu_micros_each.map(f64::round)),
            latency(found.trials.latency_milliseconds),
        ),
    ];
    if let Some(parsing) = &found.parsing {
        lines.push(format!(
            "the same at a webhook that only parses: CPU {} µs each, {} of a binding's; {}",
            known(parsing.server_cpu_micros_each.map(f64::round)),
            known(found.parsing_share.map(|share| format!("{share:.2}"))),
            latency(parsing.latency_milliseconds),
        ));
    }
    if let Some(filtering) = &found.filtering {
        lines.push(format!(
            "the extender, asked about {} nodes: {}; server CPU {} µs each",
            filtering.nodes,
            latency(filtering.latency_milliseconds),
            known(filtering.server_cpu_micros_each.map(f64::round)),
        ));
    }
    if let Some(bound) = found.latency_bound_milliseconds {
        let disk = latency(found.fdatasync_milliseconds);
        lines.push(format!(
            "fdatasync meanwhile: {disk}; 1 ms and twice its p99 are {bound:.2} ms"
        ));
    }
    let refusals = found.refusals.iter().map(|why| format!("refused: {why}"));
    lines.extend(refusals);
    lines.extend(
        found
            .lost
            .keys()
            .take(3)
            .map(|why| format!("no answer: {why}")),
    );
    lines
}

fn latencies(phase: &Phase, pick: fn(Latency) -> (f64, f64)) -> String {
    phase.latency_milliseconds.map(pick).map_or_else(
        || NOTHING.to_owned(),
        |(one, other)| format!("{one:.1} / {other:.1}"),
    )
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "0".to_owned();
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    counts.join(", ")
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}
