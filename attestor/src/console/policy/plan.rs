//! `touchstone policy plan`: what manifests would do to the fleet.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::answers::{items, rows, strings};
use super::super::client::Client;
use super::super::output::{grid, line, text};
use super::super::progress::waiting;
use super::located;
use super::sources::Sources;

pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 it was planned; with --detailed-exitcode 0 nothing would change, 2 something would; 1 it could not
be planned.";

/// Something would change.
const CHANGES: u8 = 2;

pub(super) async fn plan(
    client: &Client,
    json: bool,
    files: &[PathBuf],
    detailed: bool,
) -> anyhow::Result<ExitCode> {
    let sources = Sources::read(files)?;
    let body = json!({ "manifests": sources.text });
    let plan = waiting(
        "judging every host",
        client.post_slowly("/v1/policies/plan", &body),
    )
    .await
    .map_err(|error| located(&sources, error))?;
    line(json, &plan, || words(&plan))?;
    match detailed && changes(&plan) {
        true => Ok(ExitCode::from(CHANGES)),
        false => Ok(ExitCode::SUCCESS),
    }
}

fn changes(plan: &Value) -> bool {
    let hosts = count_of(plan, "changes") > 0 || count_of(plan, "lapsing") > 0;
    let workloads = plan.get("workloads").and_then(Value::as_object);
    hosts || workloads.is_some_and(|workloads| !workloads.is_empty())
}

fn count_of(plan: &Value, list: &str) -> usize {
    items(plan, list).count()
}

fn words(plan: &Value) -> String {
    let mut parts = Vec::new();
    let changed = rows(plan, "changes", |change| {
        vec![
            text(change, "host"),
            text(change, "from"),
            text(change, "to"),
            text(change, "summary"),
        ]
    });
    if !changed.is_empty() {
        parts.push(grid(&["host", "tier now", "tier then", "why"], changed));
    }
    let workloads = workload_rows(plan);
    if !workloads.is_empty() {
        parts.push(grid(&["workload policy", "host", "its pods"], workloads));
    }
    let left = rows(plan, "not_judged", |one| {
        vec![text(one, "host"), text(one, "why")]
    });
    let unjudged = left.len();
    if !left.is_empty() {
        parts.push(grid(&["not judged", "why"], left));
    }
    parts.push(format!(
        "{} of {} hosts would change tier, {} would stay, {unjudged} could not be judged; nothing was applied",
        count_of(plan, "changes"),
        text(plan, "hosts"),
        text(plan, "same"),
    ));
    let lapsing = count_of(plan, "lapsing");
    if lapsing > 0 {
        parts.push(format!(
            "the verdicts of {lapsing} hosts would run out before their next round, by the time between their last two"
        ));
    }
    if plan.get("drains").and_then(Value::as_bool) == Some(true) {
        parts.push(breaker(plan));
    }
    parts.join("\n")
}

fn breaker(plan: &Value) -> String {
    let why = match items(plan, "starving").next() {
        Some(one) => format!(
            "the pods of `{}` could not run any more on {} of {} hosts",
            text(one, "workload"),
            text(one, "falling"),
            text(one, "allowing"),
        ),
        None => format!(
            "{} of {} affirming hosts would not be affirming any more, which is more than a third",
            text(plan, "falling"),
            text(plan, "affirming"),
        ),
    };
    format!("CIRCUIT BREAKER: {why}. `touchstone policy apply` refuses this without --drain")
}

fn workload_rows(plan: &Value) -> Vec<Vec<String>> {
    let workloads = plan.get("workloads").and_then(Value::as_object);
    let mut rows = Vec::new();
    for (name, change) in workloads.into_iter().flatten() {
        for (list, word) in [
            ("allowed", "could run there now"),
            ("refused", "could not run there any more"),
        ] {
            let hosts = strings(change, list);
            rows.extend(hosts.map(|host| vec![name.clone(), host.to_owned(), word.to_owned()]));
        }
    }
    rows
}
