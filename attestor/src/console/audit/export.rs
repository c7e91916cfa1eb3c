//! Fetches the whole log into a file or to standard output, as it comes: no part of it is kept.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context as _;
use reqwest::Response;
use serde_json::json;

use crate::console::client::Client;
use crate::console::output::line;
use crate::console::progress::waiting;

const LOG: &str = "/v1/audit/export";
/// How the line of a handover begins.
const HANDOVER: &[u8] = b"{\"handover\":";

/// Fetches it to where it is wanted.
pub(in crate::console) async fn export(
    client: &Client,
    json: bool,
    out: Option<&Path>,
) -> anyhow::Result<()> {
    let answer = client.get_parts(LOG).await?;
    let Some(path) = out else {
        return print(answer).await;
    };
    let entries = waiting("fetching the log", write_new(path, answer)).await?;
    let told = json!({ "file": path, "entries": entries });
    line(json, &told, || {
        format!(
            "wrote {entries} entries; verify with: touchstone audit verify {}",
            path.display()
        )
    })
}

/// Prints it. A reader that has seen enough, as of `| head`, is no failure.
async fn print(mut answer: Response) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    while let Some(part) = answer.chunk().await? {
        match out.write_all(&part).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.context("cannot write to standard output")?,
        }
    }
    Ok(())
}

/// Writes it to a new file, and says how many entries it has. What is there already may be an auditor's only copy: it
/// is never written over. Nothing stays of a log that breaks off.
async fn write_new(path: &Path, answer: Response) -> anyhow::Result<usize> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let file = file.with_context(|| {
        format!(
            "cannot make `{}`; name a file that is not there yet",
            path.display()
        )
    })?;
    let written = write(file, answer).await;
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written.with_context(|| format!("the log did not get into `{}`", path.display()))
}

async fn write(mut file: impl Write, mut answer: Response) -> anyhow::Result<usize> {
    let mut count = Count::default();
    let broken = "the attestor broke off; see its log, and export again";
    while let Some(part) = answer.chunk().await.context(broken)? {
        file.write_all(&part)?;
        count.pass(&part);
    }
    file.flush()?;
    Ok(count.entries())
}

/// Counts entries in what passes by.
#[derive(Default)]
struct Count {
    lines: usize,
    handovers: usize,
    /// How the line begins that is passing by.
    begins: Vec<u8>,
}

impl Count {
    fn pass(&mut self, part: &[u8]) {
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            let room = HANDOVER.len().saturating_sub(self.begins.len());
            self.begins.extend(piece.iter().take(room));
            if piece.ends_with(b"\n") {
                self.lines = self.lines.saturating_add(1);
                let handover = usize::from(self.begins == HANDOVER);
                self.handovers = self.handovers.saturating_add(handover);
                self.begins.clear();
            }
        }
    }

    /// Header, handovers and checkpoint are none.
    fn entries(&self) -> usize {
        let others = self.handovers.saturating_add(2);
        self.lines.saturating_sub(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_wherever_the_log_is_cut() {
        let log = "{\"format\":1}\n{\"entry\":\"{\\\"handover\\\":\"}\n{\"entry\":2}\n{\"handover\":\"x\"}\n{\"entry\":3}\n{\"checkpoint\":4}\n";
        for size in 1..=log.len() {
            let mut count = Count::default();
            for part in log.as_bytes().chunks(size) {
                count.pass(part);
            }
            assert_eq!(count.entries(), 3, "parts of {size}");
        }
    }
}
