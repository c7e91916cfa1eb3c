//! After the stages: the audit log leaves the attestor, and is verified without it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::attestor::Console;
use crate::demo::progress::Progress;
use crate::demo::report::Audit;

/// An exported log, and the key that it must be signed with.
pub(super) struct Exported {
    file: PathBuf,
    key: String,
}

impl Exported {
    /// Where it lies.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

/// Asks the attestor for its key and its log.
pub(super) async fn export(
    console: &Console,
    folder: &Path,
    progress: &mut Progress,
) -> anyhow::Result<Exported> {
    progress.stage(
        "audit",
        "the log is exported, and verified without the attestor",
    );
    progress.doing("exporting the audit log");
    let keys = console.run(&[&"keys"]).await?;
    let key = text(&keys, "checkpoint_key")?;
    let file = folder.join("audit.jsonl");
    console.run(&[&"audit", &"export", &"--out", &file]).await?;
    Ok(Exported { file, key })
}

/// Verifies the file alone.
pub(super) async fn verify(
    console: &Console,
    exported: &Exported,
    progress: &mut Progress,
) -> anyhow::Result<Audit> {
    progress.doing("verifying the audit log");
    let Exported { file, key } = exported;
    let answer = console
        .run(&[&"audit", &"verify", file, &"--key", key])
        .await?;
    let audit = Audit {
        verified: answer["verified"].as_bool().unwrap_or(false),
        size: answer["size"].as_u64().unwrap_or(0),
        root: text(&answer, "root")?,
    };
    ensure!(
        audit.verified && audit.size > 0,
        "the audit log does not verify: {answer}"
    );
    progress.note(&format!(
        "{} entries verify, root {}",
        audit.size, audit.root
    ));
    Ok(audit)
}

fn text(answer: &Value, field: &str) -> anyhow::Result<String> {
    let text = answer.get(field).and_then(Value::as_str);
    let text = text.with_context(|| format!("`{field}` is missing in {answer}"))?;
    Ok(text.to_owned())
}
