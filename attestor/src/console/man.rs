//! `touchstone man`: a man page for each command, out of what `--help` says.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use serde_json::json;

use super::Arguments;
use super::output::line;

/// Writes `touchstone.1`, `touchstone-policy.1`, `touchstone-policy-apply.1` and so on into `folder`.
pub(super) fn write(json: bool, folder: &Path) -> anyhow::Result<ExitCode> {
    let cannot = || format!("cannot write man pages into `{}`", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    clap_mangen::generate_to(Arguments::command(), folder).with_context(cannot)?;
    let pages = fs::read_dir(folder).with_context(cannot)?.count();
    let answer = json!({ "folder": folder, "pages": pages });
    line(json, &answer, || {
        format!(
            "wrote {pages} pages; read them with: man -l {}",
            folder.join("touchstone.1").display()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
