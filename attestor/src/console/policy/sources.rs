//! Manifests out of several files, and where in which of them an error is.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::console::commands::read;

/// What stands between two files.
const BETWEEN: &str = "\n---\n";
/// What the code of a refusal begins with, after its words.
const CODE: &str = " (touchstone:";

/// One text out of files, as the attestor gets it.
pub(super) struct Sources {
    pub(super) text: String,
    /// Each file with the line of the text on which it begins, counted from 1.
    files: Vec<(PathBuf, usize)>,
}

/// An error in a manifest, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located {
    file: PathBuf,
    line: usize,
    column: usize,
    message: String,
    /// The line that it is in.
    source: String,
}

impl Sources {
    pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut sources = Self {
            text: String::new(),
            files: Vec::new(),
        };
        for file in files {
            sources.add(file.clone(), &read(file)?);
        }
        Ok(sources)
    }

    fn add(&mut self, file: PathBuf, text: &str) {
        if !self.files.is_empty() {
            self.text.push_str(BETWEEN);
        }
        let begins = self.text.matches('\n').count() + 1;
        self.files.push((file, begins));
        self.text.push_str(text);
    }

    /// Reads `line N column M`, which stands before or after the words, of the whole text; `None`: it names no line. The
    /// code of a refusal stays at the end.
    pub(super) fn locate(&self, said: &str) -> Option<Located> {
        let (said, code) = said.split_at(said.rfind(CODE).unwrap_or(said.len()));
        let (before, rest) = said.split_once("line ")?;
        let (line, rest) = number(rest)?;
        let (column, rest) = number(rest.trim_start_matches(',').strip_prefix(" column ")?)?;
        let source = self.text.lines().nth(line.checked_sub(1)?);
        let (file, begins) = self.files.iter().rfind(|(_, begins)| *begins <= line)?;
        let after = rest.trim_start_matches([':', ' ']);
        let message = match after.is_empty() {
            true => before.trim_end_matches(" at "),
            false => after,
        };
        Some(Located {
            file: file.clone(),
            line: line - begins + 1,
            column,
            message: format!("{message}{code}"),
            source: source.unwrap_or_default().to_owned(),
        })
    }

    /// What was said; if it names a place, with that in front and the line below.
    pub(super) fn explain(&self, said: &str) -> String {
        match self.locate(said) {
            Some(located) => format!("{located}\n{}", located.frame()),
            None => said.to_owned(),
        }
    }
}

/// The number that `text` begins with, and what follows it.
fn number(text: &str) -> Option<(usize, &str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, rest) = text.split_at(digits.unwrap_or(text.len()));
    Some((number.parse().ok()?, rest))
}

impl std::fmt::Display for Located {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            ..
        } = self;
        write!(out, "{}:{line}:{column}: {message}", file.display())
    }
}

impl Located {
    /// Its line, with a mark below the column.
    fn frame(&self) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let before = self.column.saturating_sub(1);
        // Tabs stay, so that the mark stands where it should.
        let blank = |letter| if letter == '\t' { '\t' } else { ' ' };
        let indent: String = self.source.chars().take(before).map(blank).collect();
        format!(
            "{margin} |\n{number} | {}\n{margin} | {indent}^",
            self.source
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({ "file": self.file, "line": self.line, "column": self.column })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use touchstone_policies::manifest::PolicySet;

    use super::*;

    #[test]
    fn lines_are_those_of_the_file_that_the_error_is_in() {
        let region = |name: &str, country: &str| {
            format!(
                "apiVersion: touchstone.dev/v1\nkind: Region\nmetadata: {{name: {name}}}\nspec: {{version: 1, countries: [{country}]}}\n"
            )
        };
        let mut sources = Sources {
            text: String::new(),
            files: Vec::new(),
        };
        sources.add("a.yaml".into(), &region("a", "DE"));
        sources.add("b.yaml".into(), &region("b", "FR"));
        sources.add("c.yaml".into(), &format!("# c\n\n{}", region("c", "Mars")));
        let said = PolicySet::parse(&sources.text).unwrap_err().to_string();
        let located = sources.locate(&said).unwrap();
        assert_eq!(
            (located.file.to_str(), located.line),
            (Some("c.yaml"), 6),
            "{said}"
        );
        assert!(
            located.column > 30 && located.message.contains("ISO 3166-1"),
            "{located:?}"
        );
        let frame =
            "  |\n6 | spec: {version: 1, countries: [Mars]}\n  |                                ^";
        let told = sources.explain(&said);
        assert!(
            told.starts_with("c.yaml:6:32: ") && told.ends_with(frame),
            "{told}"
        );
        assert_eq!(told.matches("Mars").count(), 2, "{told}");
        assert_eq!(sources.locate("Region `a` is there twice"), None);
        // As an attestor refuses it.
        let refused =
            sources.locate("unknown field `x` at line 6, column 9 (touchstone:policy-broken)");
        assert_eq!(
            refused.map(|located| located.message).as_deref(),
            Some("unknown field `x` (touchstone:policy-broken)")
        );
    }
}
