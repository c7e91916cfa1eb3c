//! The auditor's commands: fetch the log, and verify a fetched one without the server.

mod export;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};
use touchstone_evidence::transparency::{
    Checkpoint, ExportTrust, Frontier, KeyInForce, TreeHead, VerifiedExport, VerifierKey,
    verify_export,
};

use super::output::line;

pub(super) use export::export;

/// As of `touchstone inspect`.
pub(super) const VERIFY_EXIT_CODES: &str = "\
Exit codes: 0 it verifies, 1 it does not, 2 the file, the key or a head cannot be read or parsed.";

/// What a log is verified with.
struct Asked {
    export: Vec<u8>,
    key: Option<VerifierKey>,
    heads: Vec<TreeHead>,
}

/// Verifies `file`; the exit code says what came of it.
pub(super) fn verify(
    json: bool,
    file: &Path,
    key: Option<&str>,
    heads: &[String],
) -> anyhow::Result<ExitCode> {
    match read_asked(file, key, heads) {
        Ok(asked) => verify_asked(json, file, &asked),
        Err(error) => Ok(unreadable(&error)),
    }
}

fn unreadable(error: &anyhow::Error) -> ExitCode {
    eprintln!("touchstone: {error:#}");
    ExitCode::from(2)
}

fn read_asked(file: &Path, key: Option<&str>, heads: &[String]) -> anyhow::Result<Asked> {
    let heads: Vec<TreeHead> = heads
        .iter()
        .map(|head| kept_head(head))
        .collect::<anyhow::Result<_>>()?;
    let export = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let key = key.map(log_key).transpose()?;
    Ok(Asked { export, key, heads })
}

fn verify_asked(
    json: bool,
    file: &Path,
    Asked { export, key, heads }: &Asked,
) -> anyhow::Result<ExitCode> {
    let trust = key
        .as_ref()
        .map_or(ExportTrust::KeyInFile, ExportTrust::Key);
    match verify_export(export, trust, heads) {
        Ok(verified) => {
            let answer = told(&verified, key.as_ref(), heads.len());
            line(json, &answer, || in_words(&verified, key.as_ref()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.is_no_export() => {
            let name = format!(
                "`{}` is no log that `touchstone audit export` wrote",
                file.display()
            );
            Ok(unreadable(&anyhow::Error::from(error).context(name)))
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            let answer = json!({ "verified": false, "error": format!("{error:#}") });
            line(json, &answer, || format!("does not verify: {error:#}"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn told(verified: &VerifiedExport, key: Option<&VerifierKey>, heads: usize) -> Value {
    let head = verified.head();
    let key_in_force =
        |held: &KeyInForce| json!({ "key": held.key().to_string(), "from": held.from() });
    json!({
        "verified": true,
        "size": head.size,
        "root": head.root,
        "key": verified.signer().to_string(),
        "keys": verified.keys().iter().map(key_in_force).collect::<Vec<_>>(),
        "key_given": key.is_some(),
        "earlier_heads": heads,
    })
}

fn in_words(verified: &VerifiedExport, key: Option<&VerifierKey>) -> String {
    let head = verified.head();
    let mut lines = vec![
        format!("verified {} entries", head.size),
        format!("head {}:{}", head.size, head.root),
    ];
    if let [_, _, ..] = verified.keys() {
        let signs = |held: &KeyInForce| format!("from {} entries on: {}", held.from(), held.key());
        lines.push("the key was exchanged; heads are signed".to_owned());
        lines.extend(verified.keys().iter().map(signs));
    }
    match key {
        Some(key) if key != verified.signer() => {
            lines.push(
                "Keep the last of these keys beside yours, which signs nothing more".to_owned(),
            );
        }
        Some(_) => {}
        None => lines.push(
            "The key was taken from the file itself: give --key to know whose log it is".to_owned(),
        ),
    }
    lines.join("\n")
}

/// The log's key, or a file that holds it, as of `touchstone keys --json | jq -r .checkpoint_key`.
fn log_key(text: &str) -> anyhow::Result<VerifierKey> {
    let error = match text.parse() {
        Ok(key) => return Ok(key),
        Err(error) => error,
    };
    match fs::read_to_string(text) {
        Ok(held) => held
            .trim()
            .parse()
            .with_context(|| format!("`{text}` does not hold the log's key")),
        Err(_) => Err(error).with_context(|| {
            format!(
                "`{text}` is neither a log's key as `touchstone keys` prints it nor a file with one"
            )
        }),
    }
}

/// `SIZE:ROOT` as `audit verify` printed them, or a file with what `audit checkpoint` printed.
fn kept_head(text: &str) -> anyhow::Result<TreeHead> {
    if let Ok(note) = fs::read(text) {
        // What an attestor keeps beside its keys: the right edge of the tree.
        let edge = hex::decode(note.trim_ascii()).ok();
        if let Some(edge) = edge.and_then(|bytes| Frontier::from_bytes(&bytes).ok()) {
            return Ok(edge.head());
        }
        let note = Checkpoint::parse(&note)
            .with_context(|| format!("`{text}` does not hold a checkpoint"))?;
        // It is our reader's own copy: what matters is that the log agrees with it.
        return Ok(note.untrusted_head());
    }
    let parsed = text
        .split_once(':')
        .and_then(|(size, root)| Some((size.parse().ok()?, root.parse().ok()?)));
    let (size, root) = parsed.with_context(|| {
        format!("`{text}` is neither SIZE:ROOT as `audit verify` prints them nor a file with a checkpoint")
    })?;
    Ok(TreeHead { size, root })
}
