//! The stages of NIST IR 8320A, straight through: platform attestation, trusted placement, trusted
//! location; before them the preparation, after them those of encrypted images if asked for, and the audit.

mod audit;
mod preparation;

use std::fs;
use std::path::{Path, PathBuf};

use super::encrypted::{self, Containers, Outcome};
use super::expectation::{Due, Mismatch, admission, mismatches};
use super::fleet::Plan;
use super::host::Host;
use super::progress::Progress;
use super::report::Report;
use super::row::{HostView, Row};
use super::webhook::{Decision, Webhook};
use crate::attestor::{Attestor, Console};
use crate::cli::Demo;

const KNOWN_GOOD_BOOT: &str = include_str!("../../../policies/samples/known-good-boot/policy.yaml");
const GERMANY_ONLY: &str = include_str!("../../../policies/samples/germany-only/policy.yaml");

/// What came of the stages.
pub(super) struct Staged {
    pub(super) report: Report,
    /// What still runs, if it is to be kept.
    pub(super) running: Option<Running>,
}

/// An attestor and its hosts.
pub(super) struct Running {
    pub(super) attestor: Attestor,
    pub(super) hosts: Vec<Host>,
    /// The file of the location authority's key.
    pub(super) authority_key: PathBuf,
    /// Where images are encrypted and run, if they are.
    pub(super) containers: Option<Containers>,
}

/// Runs all stages in `folder`.
pub(super) async fn run(options: Demo, folder: &Path) -> anyhow::Result<Staged> {
    let mut progress = Progress::start(options.json);
    let mut running = preparation::prepare(options.swap, folder, &mut progress).await?;
    let rows = stages(&running, folder, &mut progress).await?;
    let mut encrypted = match options.encrypted {
        true => encrypted::run(&mut running, folder, &mut progress).await?,
        false => Vec::new(),
    };
    let console = running.attestor.console().clone();
    let dues: Vec<_> = running.hosts.iter().map(|host| host.plan.due).collect();

    let exported = audit::export(&console, folder, &mut progress).await?;
    let running = match options.keep {
        true => Some(running),
        false => {
            progress.doing("stopping the attestor");
            running.stop().await?;
            progress.note("the attestor is stopped");
            None
        }
    };
    let audit = audit::verify(&console, &exported, &mut progress).await?;
    for outcome in &mut encrypted {
        outcome.recorded = encrypted::count(exported.file(), outcome.host)?;
    }
    let (stages, seconds) = progress.finish();
    let mismatches = compare(&dues, &rows, &encrypted);
    let report = Report {
        as_expected: mismatches.is_empty(),
        mismatches,
        rows,
        encrypted,
        audit,
        stages,
        seconds,
    };
    Ok(Staged { report, running })
}

impl Running {
    /// An orderly end; the attestor is the last.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        if let Some(containers) = self.containers {
            containers.stop().await?;
        }
        self.attestor.stop().await
    }
}

fn compare(dues: &[Due], rows: &[Row], encrypted: &[Outcome]) -> Vec<Mismatch> {
    let rows = dues.iter().zip(rows);
    let encrypted = dues.iter().zip(encrypted);
    rows.flat_map(|(due, row)| mismatches(due, row))
        .chain(encrypted.flat_map(|(due, outcome)| encrypted::mismatches(due, outcome)))
        .collect()
}

/// One row for each host.
async fn stages(
    running: &Running,
    folder: &Path,
    progress: &mut Progress,
) -> anyhow::Result<Vec<Row>> {
    let (console, hosts) = (running.attestor.console(), &running.hosts);
    let webhook = Webhook::of(&console.operator)?;
    attest_platforms(console, hosts, folder, progress).await?;
    let by_boot = place_by_boot(console, hosts, &webhook, progress).await?;
    locate(console, hosts, &running.authority_key, folder, progress).await?;
    let by_place = place_pods(hosts, &webhook, progress).await?;
    let views = show(console, hosts).await?;
    Ok(views
        .into_iter()
        .zip(by_boot.into_iter().zip(by_place))
        .map(|(host, (boot_only, boot_and_place))| Row {
            host,
            boot_only,
            boot_and_place,
        })
        .collect())
}

/// Stage 0: who is it, and what did it boot?
async fn attest_platforms(
    console: &Console,
    hosts: &[Host],
    folder: &Path,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    progress.stage(
        "stage 0, platform attestation",
        "hosts enrol, and attest what they booted",
    );
    progress.doing("applying the policy: known-good boot");
    apply(console, folder, "known-good-boot", KNOWN_GOOD_BOOT).await?;
    progress.doing("enrolling three hosts");
    all(hosts.iter().map(Host::enrol)).await?;
    progress.doing("attesting three hosts");
    all(hosts.iter().map(Host::attest)).await?;
    for view in show(console, hosts).await? {
        let causes: Vec<_> = view.causes().map(|cause| cause.code.as_str()).collect();
        let line = format!("{}  {}  {}", view.host, view.tier, causes.join(", "));
        progress.note(line.trim_end());
    }
    Ok(())
}

/// Stage 1: a pod may run only on hosts with a known-good boot, wherever they stand.
async fn place_by_boot(
    console: &Console,
    hosts: &[Host],
    webhook: &Webhook,
    progress: &mut Progress,
) -> anyhow::Result<Vec<Decision>> {
    progress.stage(
        "stage 1, trusted placement",
        "a pod is bound to each host; only a known-good boot is demanded",
    );
    for Plan { name, node, .. } in hosts.iter().map(|host| &host.plan) {
        console.run(&[&"node", &"map", node, name]).await?;
    }
    place_pods(hosts, webhook, progress).await
}

/// Stage 2: hosts carry signed tags in their TPMs; a place in Germany is demanded too.
async fn locate(
    console: &Console,
    hosts: &[Host],
    authority_key: &Path,
    folder: &Path,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    progress.stage(
        "stage 2, trusted location",
        "hosts carry signed location tags; a place in Germany is demanded as well",
    );
    progress.doing("signing location tags");
    for host in hosts {
        tag(console, &host.plan, authority_key).await?;
    }
    progress.doing("applying the policy: known-good boot, Germany only");
    apply(console, folder, "germany-only", GERMANY_ONLY).await?;
    // The challenge at hand is of before: its answer brings the one with the tag.
    progress.doing("handing the tags to the TPMs");
    all(hosts.iter().map(Host::attest)).await?;
    progress.doing("attesting three hosts with their tags");
    all(hosts.iter().map(Host::attest)).await?;
    Ok(())
}

pub(super) async fn tag(
    console: &Console,
    plan: &Plan,
    authority_key: &Path,
) -> anyhow::Result<()> {
    console
        .run(&[
            &"location",
            &"tag",
            &"--key",
            &authority_key,
            &"--host",
            &plan.name,
            &"--country",
            &plan.country,
            &"--subdivision",
            &plan.subdivision,
            &"--site",
            &plan.site,
        ])
        .await?;
    Ok(())
}

/// Sends the reviews of a pod for each host's node.
async fn place_pods(
    hosts: &[Host],
    webhook: &Webhook,
    progress: &mut Progress,
) -> anyhow::Result<Vec<Decision>> {
    let mut decisions = Vec::new();
    for Plan { name, node, .. } in hosts.iter().map(|host| &host.plan) {
        let decision = webhook.place(node).await?;
        progress.note(&format!("{name}  pod {}", admission(decision.admitted)));
        decisions.push(decision);
    }
    Ok(decisions)
}

async fn show(console: &Console, hosts: &[Host]) -> anyhow::Result<Vec<HostView>> {
    let mut views = Vec::new();
    for host in hosts {
        let answer = console.run(&[&"host", &"show", &host.plan.name]).await?;
        views.push(HostView::read(answer)?);
    }
    Ok(views)
}

/// Applies a sample from a file of its own, which stays for whoever keeps the demo.
async fn apply(
    console: &Console,
    folder: &Path,
    name: &str,
    manifests: &str,
) -> anyhow::Result<()> {
    let path = folder.join(name).with_extension("yaml");
    fs::write(&path, manifests)?;
    console.run(&[&"policy", &"apply", &path]).await?;
    Ok(())
}

/// Runs all at once, on this thread, and waits for each.
async fn all<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = anyhow::Result<T>> + Send + 'static>,
) -> anyhow::Result<Vec<T>> {
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await??);
    }
    Ok(done)
}
