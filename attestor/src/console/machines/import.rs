//! `touchstone inventory import`: a file of machines, all or none.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::file;
use crate::console::client::Client;
use crate::console::commands;
use crate::console::output::{line, text};

pub(super) async fn import(client: &Client, json: bool, path: &Path) -> anyhow::Result<()> {
    let content = commands::read(path)?;
    let machines = {
        let progress = progress(content.lines().count());
        let machines = file::read(&content, || progress.inc(1));
        progress.finish_and_clear();
        machines.with_context(|| format!("`{}` was not imported", path.display()))?
    };
    let spinner = progress(0);
    spinner.set_message(format!("adding {} machines", machines.len()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let body = json!({ "machines": machines.iter().map(file::Line::body).collect::<Vec<_>>() });
    let answer = client.post("/v1/inventory-imports", &body).await;
    spinner.finish_and_clear();
    let answer = answer.map_err(|error| file::with_lines(&error, &machines))?;
    line(json, &answer, || {
        format!(
            "{} machines are in the inventory",
            text(&answer, "imported")
        )
    })?;
    Ok(())
}

/// A bar of `lines`, or a spinner without; neither unless a person looks on.
fn progress(lines: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match u64::try_from(lines) {
        Ok(lines @ 1..) => (
            ProgressBar::new(lines),
            "  reading [{bar:40}] {pos}/{len} lines",
        ),
        _ => (ProgressBar::new_spinner(), "  {spinner} {msg} ({elapsed})"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
