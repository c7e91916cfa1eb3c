//! `touchstone policy …`.

mod plan;
mod sources;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Subcommand;
use serde_json::{Value, json};
use touchstone_policies::manifest::{PolicySet, SCHEMA};

use super::answers::rows;
use super::client::{Client, is_refusal};
use super::output::{grid, line, moment, print, table, text};
use super::progress::waiting;
use sources::{Located, Sources};

/// `touchstone policy …`
#[derive(Subcommand, Debug)]
pub enum Policy {
    /// Put manifests into force, all or none; they replace what is in force
    Apply {
        /// YAML files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Apply them even if more than a third of the affirming hosts would fall; the audit log says so
        #[arg(long)]
        drain: bool,
        /// Apply them though those in force are objects of another cluster; say `policies = "bundle"` there first
        #[arg(long)]
        take_over: bool,
    },
    /// Show what manifests would do to the fleet, on each host's own last evidence; nothing is changed
    #[command(after_help = plan::EXIT_CODES)]
    Plan {
        /// YAML files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Say by the exit code whether something would change
        #[arg(long)]
        detailed_exitcode: bool,
    },
    /// Say whether manifests would be applied, without an attestor; exit code 1 if not
    Check {
        /// YAML files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of manifests, for editors; needs no attestor
    Schema,
    /// Print the manifests in force, or of an earlier version
    Show {
        /// Which one, as the history counts them
        #[arg(id = "policy_version", value_name = "VERSION")]
        version: Option<i64>,
    },
    /// List all versions that were ever in force, the newest first
    History,
}

/// Runs any of them but `check`.
pub(super) async fn run(client: &Client, json: bool, command: Policy) -> anyhow::Result<ExitCode> {
    match command {
        Policy::Apply {
            files,
            drain,
            take_over,
        } => {
            let body = json!({ "drain": drain, "take_over": take_over });
            apply(client, json, &files, body).await?
        }
        Policy::Plan {
            files,
            detailed_exitcode,
        } => return plan::plan(client, json, &files, detailed_exitcode).await,
        Policy::Check { files } => return check(json, &files),
        Policy::Schema => print(SCHEMA)?,
        Policy::Show { version } => show(client, json, version).await?,
        Policy::History => history(client, json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says whether `apply` would take the manifests, without an attestor, and so as if none were in force.
pub(super) fn check(json: bool, files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let sources = Sources::read(files)?;
    let set = match PolicySet::parse_new(&sources.text, &PolicySet::empty()) {
        Ok(set) => set,
        Err(error) => {
            let error = error.to_string();
            let located = sources.locate(&error);
            let place = located.as_ref().map(Located::json);
            let told = located.map_or_else(|| error.clone(), |located| located.to_string());
            let answer = json!({ "sound": false, "error": told, "at": place });
            line(json, &answer, || {
                format!("{}\nnothing would be applied", sources.explain(&error))
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

async fn apply(
    client: &Client,
    json: bool,
    files: &[PathBuf],
    mut body: Value,
) -> anyhow::Result<()> {
    let sources = Sources::read(files)?;
    body["manifests"] = json!(sources.text);
    let answer = waiting(
        "judging every host",
        client.put_slowly("/v1/policies", &body),
    )
    .await;
    let answer = answer.map_err(|error| located(&sources, error))?;
    line(json, &answer, || {
        format!(
            "policy version {} is in force, digest {}",
            text(&answer, "version"),
            text(&answer, "digest")
        )
    })
}

/// A refusal of broken manifests, with file, line and column in front.
fn located(sources: &Sources, error: anyhow::Error) -> anyhow::Error {
    match is_refusal(&error, "policy-broken") {
        true => anyhow!(sources.explain(&error.to_string())),
        false => error,
    }
}

async fn show(client: &Client, json: bool, version: Option<i64>) -> anyhow::Result<()> {
    let path = match version {
        Some(version) => format!("/v1/policies/{version}"),
        None => "/v1/policies".to_owned(),
    };
    let answer = client.get(&path).await?;
    line(json, &answer, || text(&answer, "manifests"))
}

async fn history(client: &Client, json: bool) -> anyhow::Result<()> {
    let answer = client.get("/v1/policies/history").await?;
    let rows = rows(&answer, "policies", |policy: &Value| {
        let applied = moment(policy, "applied_at");
        vec![text(policy, "version"), applied, text(policy, "digest")]
    });
    table(json, &answer, &["version", "applied", "digest"], rows)
}
