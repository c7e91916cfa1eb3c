//! One row of the outcome: what the attestor's interface says about one host, and nothing else.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::webhook::Decision;

/// A host and what was decided about the pod on it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// As the attestor shows it.
    #[serde(flatten)]
    pub(super) host: HostView,
    /// Where only a known-good boot was demanded.
    pub(super) boot_only: Decision,
    /// Where a place in Germany was demanded as well.
    pub(super) boot_and_place: Decision,
}

/// What is read of `GET /v1/hosts/{host}`.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct HostView {
    pub(super) host: String,
    pub(super) nodes: Vec<String>,
    pub(super) tier: String,
    pub(super) place: Option<Place>,
    pub(super) vector: BTreeMap<String, String>,
    pub(super) findings: Vec<Finding>,
    pub(super) entry: Option<String>,
}

/// Where it was proven to be.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Place {
    pub(super) country: String,
    #[serde(default)]
    pub(super) subdivision: Option<String>,
    pub(super) site: String,
}

/// Why its tier is not better.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Finding {
    pub(super) code: String,
    #[serde(default)]
    pub(super) subject: String,
    #[serde(default)]
    pub(super) expected: Option<String>,
    #[serde(default)]
    pub(super) observed: Option<String>,
    #[serde(default)]
    pub(super) consequence_of: Option<String>,
    pub(super) sentence: String,
}

impl HostView {
    /// Of the attestor's JSON.
    pub(super) fn read(answer: Value) -> anyhow::Result<Self> {
        serde_json::from_value(answer).context("the attestor shows a host in an unknown form")
    }

    /// The findings that follow from no other.
    pub(super) fn causes(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.consequence_of.is_none())
    }

    /// The findings that follow from `cause`.
    pub(super) fn consequences(&self, cause: &str) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.consequence_of.as_deref() == Some(cause))
    }
}

impl Row {
    /// Why, in the attestor's words: its findings, or else what the webhook said.
    pub(super) fn why(&self) -> String {
        let mut lines = Vec::new();
        for cause in self.host.causes() {
            lines.push(cause.sentence.clone());
            let subjects: Vec<_> = self
                .host
                .consequences(&cause.code)
                .map(|finding| finding.subject.as_str())
                .collect();
            if !subjects.is_empty() {
                lines.push(format!("follows from it: {}", subjects.join(", ")));
            }
        }
        match (&self.boot_and_place.message, lines.is_empty()) {
            (_, false) => lines.join("\n"),
            (Some(message), true) => message.trim_start_matches("touchstone: ").to_owned(),
            (None, true) => "no findings".to_owned(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { country, site, .. } = self;
        match &self.subdivision {
            Some(subdivision) => write!(f, "{country} ({subdivision}, {site})"),
            None => write!(f, "{country} ({site})"),
        }
    }
}
