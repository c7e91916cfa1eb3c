//! What an exported audit log says of the keys that hosts were given, and of what they purged.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

/// Entries of one host, by their kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::demo) struct Recorded {
    /// Keys of layers that it was given.
    pub(super) released: usize,
    /// Keys that it was refused.
    pub(super) refused: usize,
    /// Purges that it told, with nothing left.
    pub(super) purged: usize,
}

impl Recorded {
    /// What counts.
    pub(super) fn in_short(&self) -> String {
        let kinds: Vec<_> = [
            (self.released, "keys released"),
            (self.purged, "images purged"),
            // Whoever is given keys may have been refused some before, and later.
            (
                self.refused * usize::from(self.released == 0),
                "keys refused",
            ),
        ]
        .into_iter()
        .filter_map(|(count, what)| (count > 0).then_some(what))
        .collect();
        kinds.join(", ")
    }

    /// All of it.
    pub(super) fn in_full(&self) -> String {
        let Self {
            released,
            refused,
            purged,
        } = self;
        let mut lines = format!("{released} keys released, {refused} refused");
        if *purged > 0 {
            lines.push_str(&format!("\n{purged} purge"));
        }
        lines
    }
}

/// Counts them for a host. The log was verified before.
pub(in crate::demo) fn count(log: &Path, host: &str) -> anyhow::Result<Recorded> {
    let log = std::fs::read_to_string(log)?;
    let mut recorded = Recorded::default();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line)?;
        // The first line and the last are no entries.
        let Some(entry) = line.get("entry").and_then(Value::as_str) else {
            continue;
        };
        let entry: Value = serde_json::from_str(entry).context("an entry that is no JSON")?;
        if entry["host"] != host {
            continue;
        }
        match entry["kind"].as_str() {
            Some("layer-key-released") => recorded.released += 1,
            Some("layer-key-refused") => recorded.refused += 1,
            Some("images-purged") if entry["complete"] == true => recorded.purged += 1,
            _ => {}
        }
    }
    Ok(recorded)
}
