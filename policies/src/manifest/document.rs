//! One YAML document: its envelope, and which kind it becomes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{SnippetMode, render_options};

use super::PolicySet;
use super::stream::{Part, parts};

/// Largest manifest text, bytes.
const TEXT_MAX: usize = 4 << 20;
const API_VERSION: &str = "touchstone.dev/v1";

/// Why a text is not a set of manifests.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More than 4 MiB.
    #[error("the manifests have {0} bytes; at most {TEXT_MAX} are read")]
    TooLarge(usize),
    /// Blanks and comments.
    #[error("the text holds no manifest; to have no demands, say so in one")]
    Empty,
    /// Not YAML, or not of the shape of its kind. The text names line and column.
    #[error("document {document}: {message}")]
    Yaml {
        /// Counted from 1.
        document: usize,
        /// The YAML reader's words, with line and column in the whole text, and without the lines around them.
        message: String,
    },
    /// Another `apiVersion`.
    #[error(
        "document {document}: `apiVersion: {found}` is not known; write `apiVersion: {API_VERSION}`"
    )]
    ApiVersion {
        /// Counted from 1.
        document: usize,
        /// What stands there.
        found: String,
    },
    /// Another `kind`.
    #[error(
        "document {document}: `kind: {found}` is not known; use HostPolicy, ReferenceValues, Region or WorkloadPolicy"
    )]
    Kind {
        /// Counted from 1.
        document: usize,
        /// What stands there.
        found: String,
    },
    /// Two of one kind and name.
    #[error("{kind} `{name}` is there twice; give one of them another name")]
    Duplicate {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
    },
    /// Something is read out of events whose PCR has no known-good value.
    #[error(
        "ReferenceValues `{reference}`: `{what}` proves nothing unless PCR {pcr} is among `pcrs`; add its values"
    )]
    Unanchored {
        /// The manifest.
        reference: String,
        /// The PCR.
        pcr: u8,
        /// What needs it.
        what: &'static str,
    },
    /// A policy for pods that there are none of, or about which nobody is asked.
    #[error("WorkloadPolicy `{policy}`: `{namespace}` {why}")]
    Namespace {
        /// Its name.
        policy: String,
        /// As it is written.
        namespace: String,
        /// Why not, in words.
        why: &'static str,
    },
    /// A name that no manifest has.
    #[error("{from} names {to}, which is not among the manifests; add it or mend the name")]
    Unresolved {
        /// Who refers.
        from: String,
        /// To what.
        to: String,
    },
}

/// A document before its kind is known.
pub(super) struct Document<'a> {
    /// Counted from 1.
    number: usize,
    part: Part<'a>,
    kind: String,
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest<S> {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    spec: S,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
}

/// Reads the envelope of each document; those of blanks and comments are left out.
pub(super) fn split(text: &str) -> Result<Vec<Document<'_>>, ManifestError> {
    if text.len() > TEXT_MAX {
        return Err(ManifestError::TooLarge(text.len()));
    }
    parts(text)
        .filter(|part| {
            part.text
                .lines()
                .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        })
        .zip(1..)
        .map(|(part, number)| Document::open(number, part))
        .collect()
}

impl<'a> Document<'a> {
    fn open(number: usize, part: Part<'a>) -> Result<Self, ManifestError> {
        let header: Header = read(number, part)?;
        if header.api_version != API_VERSION {
            return Err(ManifestError::ApiVersion {
                document: number,
                found: header.api_version,
            });
        }
        Ok(Self {
            number,
            part,
            kind: header.kind,
        })
    }

    pub(super) fn read_into(&self, set: &mut PolicySet) -> Result<(), ManifestError> {
        match self.kind.as_str() {
            "HostPolicy" => self.insert(&mut set.hosts),
            "ReferenceValues" => self.insert(&mut set.references),
            "Region" => self.insert(&mut set.regions),
            "WorkloadPolicy" => self.insert(&mut set.workloads),
            other => Err(ManifestError::Kind {
                document: self.number,
                found: other.to_owned(),
            }),
        }
    }

    fn insert<S: DeserializeOwned>(
        &self,
        kind: &mut BTreeMap<String, S>,
    ) -> Result<(), ManifestError> {
        let manifest: Manifest<S> = read(self.number, self.part)?;
        let name = manifest.metadata.name;
        if kind.contains_key(&name) {
            return Err(ManifestError::Duplicate {
                kind: self.kind.clone(),
                name,
            });
        }
        kind.insert(name, manifest.spec);
        Ok(())
    }
}

fn read<T: DeserializeOwned>(document: usize, part: Part<'_>) -> Result<T, ManifestError> {
    serde_saphyr::from_str(part.text).map_err(|error| ManifestError::Yaml {
        document,
        // The lines are told as those of the whole text.
        message: error.render_with_options(render_options! {
            snippets: SnippetMode::Off,
            line_offset: part.lines_before,
        }),
    })
}
