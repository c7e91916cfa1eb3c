//! Findings: what a check saw that it did not want to see, as data.

use serde::{Deserialize, Serialize};

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
        self.subject = subject.to_string();
        self
    }

    /// Says what would have been right.
    #[must_use]
    pub fn expected(mut self, value: impl ToString) -> Self {
        self.expected = Some(value.to_string());
        self
    }

    /// Says what was seen.
    #[must_use]
    pub fn observed(mut self, value: impl ToString) -> Self {
        self.observed = Some(value.to_string());
        self
    }

    /// Marks it as explained by another finding.
    #[must_use]
    pub fn because_of(mut self, code: &str) -> Self {
        self.consequence_of = Some(code.to_owned());
        self
    }
}
