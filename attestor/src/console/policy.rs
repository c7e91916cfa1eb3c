//! `touchstone policy …`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use touchstone_policies::manifest::PolicySet;

use super::client::Client;
use super::commands::{read, rows};
use super::output::{grid, line, moment, table, text};

/// The manifests of `files`, one after the other.
fn manifests(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut manifests = String::new();
    for file in files {
        if !manifests.is_empty() {
            manifests.push_str("\n---\n");
        }
        manifests.push_str(&read(file)?);
    }
    Ok(manifests)
}

/// Says whether `apply` would take the manifests, without an attestor.
pub(super) fn check(json: bool, files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let set = match PolicySet::parse(&manifests(files)?) {
        Ok(set) => set,
        Err(error) => {
            let answer = json!({ "sound": false, "error": error.to_string() });
            line(json, &answer, || {
                format!("{error}; nothing would be applied")
            })?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let kinds: BTreeMap<&str, Vec<&String>> = BTreeMap::from([
        ("HostPolicy", set.hosts.keys().collect()),
        ("ReferenceValues", set.references.keys().collect()),
        ("Region", set.regions.keys().collect()),
        ("WorkloadPolicy", set.workloads.keys().collect()),
    ]);
    let answer = json!({ "sound": true, "digest": set.digest, "manifests": kinds });
    line(json, &answer, || {
        let rows = kinds.iter().flat_map(|(kind, names)| {
            let row = |name: &&String| vec![(*kind).to_owned(), (*name).clone()];
            names.iter().map(row)
        });
        let grid = grid(&["kind", "name"], rows.collect());
        format!("{grid}\nsound, digest {}", set.digest)
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn apply(client: &Client, json: bool, files: &[PathBuf]) -> anyhow::Result<()> {
    let body = json!({ "manifests": manifests(files)? });
    let answer = client.put("/v1/policies", &body).await?;
    line(json, &answer, || {
        format!(
            "policy version {} is in force, digest {}",
            text(&answer, "version"),
            text(&answer, "digest")
        )
    })
}

pub(super) async fn show(client: &Client, json: bool, version: Option<i64>) -> anyhow::Result<()> {
    let path = match version {
        Some(version) => format!("/v1/policies/{version}"),
        None => "/v1/policies".to_owned(),
    };
    let answer = client.get(&path).await?;
    line(json, &answer, || text(&answer, "manifests"))
}

pub(super) async fn history(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/policies/history").await?;
    let rows = rows(&answer, "policies", |policy: &Value| {
        let applied = moment(policy, "applied_at");
        vec![text(policy, "version"), applied, text(policy, "digest")]
    });
    table(json, &answer, &["version", "applied", "digest"], rows)
}
