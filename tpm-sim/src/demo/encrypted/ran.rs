//! What came of a command of podman, in podman's words.

use std::process::Output;

use serde::Serialize;

/// What a key provider's refusals begin with, wherever a tool repeats them.
const OURS: &str = "touchstone: ";

/// How it ended, and what was said.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::demo) struct Ran {
    /// It ended well, and said what it was to say.
    pub(super) good: bool,
    /// What the container printed; or why there was none.
    pub(super) said: String,
}

impl Ran {
    /// Of a container that is to print a line; without one, of a command that is to end well.
    pub(super) fn read(output: &Output, line: Option<&str>) -> Self {
        let printed = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Self {
                good: false,
                said: reason(&String::from_utf8_lossy(&output.stderr)),
            };
        }
        let said = |line: &str| printed.lines().any(|printed| printed == line);
        Self {
            good: line.is_none_or(said),
            said: line
                .filter(|line| said(line))
                .unwrap_or(printed.trim())
                .to_owned(),
        }
    }

    /// As a line of progress has it: `good` and what was said, or the refusal.
    pub(super) fn shown(&self, good: &str) -> String {
        format!("{}: {}", self.word(good), self.said)
    }

    /// The first of that.
    pub(super) fn word<'a>(&self, good: &'a str) -> &'a str {
        match self.good {
            true => good,
            false => "refused",
        }
    }
}

/// What follows our name, which comes last where a tool repeats a refusal; else the last line.
fn reason(said: &str) -> String {
    let said = said.trim();
    let ours = said.rsplit_once(OURS).map(|(_, reason)| reason);
    let reason = ours.or_else(|| said.lines().last()).unwrap_or_default();
    reason.trim_end_matches('"').to_owned()
}
