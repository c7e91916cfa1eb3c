//! Findings: what a check saw that it did not want to see, as data.

use serde::{Deserialize, Serialize};

/// Longest field, characters; firmware and boot loaders stay far below.
const FIELD_MAX: usize = 600;

/// One reason for a verdict. Prose is made from it at the edge, never stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// Stable, kebab-case; each has its line in `docs/findings.md`.
    pub code: String,
    /// What it is about, e.g. `PCR 8` or `boot event 40`; empty when the code says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What would have been right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was seen instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// The code of the finding that explains this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consequence_of: Option<String>,
}

impl Finding {
    /// A finding with nothing but its code.
    #[must_use]
    pub fn new(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            subject: String::new(),
            expected: None,
            observed: None,
            consequence_of: None,
        }
    }

    /// Says what it is about.
    #[must_use]
    pub fn about(mut self, subject: impl ToString) -> Self {
        self.subject = bounded(subject);
        self
    }

    /// Says what would have been right.
    #[must_use]
    pub fn expected(mut self, value: impl ToString) -> Self {
        self.expected = Some(bounded(value));
        self
    }

    /// Says what was seen.
    #[must_use]
    pub fn observed(mut self, value: impl ToString) -> Self {
        self.observed = Some(bounded(value));
        self
    }

    /// How much text it holds, bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let optional = [&self.expected, &self.observed, &self.consequence_of];
        let optional = optional.into_iter().flatten().map(String::len);
        self.code
            .len()
            .saturating_add(self.subject.len())
            .saturating_add(optional.fold(0, usize::saturating_add))
    }

    /// Marks it as explained by another finding.
    #[must_use]
    pub fn because_of(mut self, code: &str) -> Self {
        self.consequence_of = Some(code.to_owned());
        self
    }
}

/// The text, cut where it is longer than anything honest: part of it is a host's own words.
fn bounded(text: impl ToString) -> String {
    let mut text = text.to_string();
    if let Some((end, _)) = text.char_indices().nth(FIELD_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_own_words_are_cut() {
        let finding = Finding::new("code").observed("é".repeat(5000));
        assert_eq!(finding.observed.unwrap().chars().count(), FIELD_MAX + 1);
        assert_eq!(Finding::new("code").about("short").subject, "short");
    }
}
