//! `tpm-sim demo --kubernetes`: six nodes of a cluster, and where pods land on them or why not.
//!
//! With a control plane (`KUBEBUILDER_ASSETS`) its scheduler and its API server do all there is to do; without, the
//! webhook is asked what they would ask, by reviews of the shapes that they send. The first line says which.

mod asks;
mod live;
mod members;
mod report;
mod reviews;
mod words;

use std::path::Path;

use anyhow::Context as _;
use tokio::process::Child;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_tpm_sim::kubernetes::{Assets, Error, VARIABLE};

use super::keep;
use super::progress::Progress;
use crate::attestor::Attestor;
use crate::cli::Demo;
use live::Cluster;
use members::Member;
use report::{Report, Row};
use reviews::Reviews;

/// What came of it.
pub(super) struct Staged {
    pub(super) report: Report,
    /// What still runs, if it is to be kept.
    pub(super) running: Option<Running>,
}

/// An attestor, its hosts, and the cluster if there is one.
pub(super) struct Running {
    attestor: Attestor,
    members: Vec<Member>,
    cluster: Option<Cluster>,
}

/// Runs all of it in `folder`.
pub(super) async fn run(options: Demo, folder: &Path) -> anyhow::Result<Staged> {
    let assets = assets()?;
    let (live, mode) = (assets.is_some(), mode(assets.as_ref()));
    let mut progress = Progress::start(options.json);
    progress.say(&mode);
    let running = prepare(assets, options.swap, folder, &mut progress).await?;
    let rows = place(&running, &mut progress).await?;
    let nodes = members::shown(running.attestor.console(), &running.members).await?;
    let running = match options.keep {
        true => Some(running),
        false => {
            running.stop().await?;
            None
        }
    };
    let (stages, seconds) = progress.finish();
    let report = Report::new((live, mode), rows, nodes, stages, seconds);
    Ok(Staged { report, running })
}

/// The control plane's programs. None is no error; some are.
fn assets() -> anyhow::Result<Option<Assets>> {
    match Assets::find() {
        Err(Error::NoAssets) => Ok(None),
        found => Ok(Some(found?)),
    }
}

fn mode(assets: Option<&Assets>) -> String {
    match assets {
        Some(assets) => format!(
            "LIVE: API server, scheduler and controller-manager {} ({VARIABLE})",
            assets.version
        ),
        None => format!(
            "NOT LIVE: no control plane; the webhook is asked by reviews of the shapes that API servers send. {}",
            Error::NoAssets
        ),
    }
}

/// Hosts boot, attestor and control plane start, and each hears of the other.
async fn prepare(
    assets: Option<Assets>,
    swap: bool,
    folder: &Path,
    progress: &mut Progress,
) -> anyhow::Result<Running> {
    progress.stage(
        "preparation",
        "six hosts boot, an attestor starts, and a control plane if there is one",
    );
    progress.doing("making six TPMs");
    let (maker, members) = members::boot(swap, folder).await?;
    progress.doing("starting the control plane");
    let cluster = match assets {
        Some(assets) => Some(Cluster::start(assets, &folder.join("control-plane")).await?),
        None => None,
    };
    progress.doing("starting the attestor");
    let callers = cluster.iter().flat_map(|cluster| {
        let caller = Sha256Digest::of(cluster.webhook_caller());
        ["--webhook-caller".to_owned(), caller.to_string()]
    });
    let (data, log) = (folder.join("attestor"), folder.join("attestor.log"));
    let attestor = Attestor::start_with(&data, &log, callers.collect()).await?;
    let console = attestor.console();
    progress.doing("six hosts enrol and attest");
    members::enrol(console, &maker, &members, folder).await?;
    if let Some(cluster) = &cluster {
        progress.doing("six nodes join, and the API server hears of the webhook");
        cluster.join(&members, console).await?;
    }
    members::until_stale(console, &members).await?;
    Ok(Running {
        attestor,
        members,
        cluster,
    })
}

/// One row for each pod that is asked for.
async fn place(running: &Running, progress: &mut Progress) -> anyhow::Result<Vec<Row>> {
    progress.stage(
        "placement",
        "pods are asked for, each for one node: by the scheduler, and round it",
    );
    let reviews = match &running.cluster {
        None => Some(Reviews::of(&running.attestor.console().operator)?),
        Some(_) => None,
    };
    let mut rows = Vec::new();
    for ask in asks::all() {
        let landing = match (&running.cluster, &reviews) {
            (Some(cluster), _) => cluster.place(&ask).await,
            (None, Some(reviews)) => reviews.place(&ask).await,
            (None, None) => continue,
        };
        let landing = landing.with_context(|| format!("the pod `{}`", ask.pod()))?;
        progress.note(&format!("{}  {}", ask.pod(), landing.in_short()));
        rows.push(Row::new(&ask, landing));
    }
    Ok(rows)
}

impl Running {
    /// An orderly end; the attestor is the last.
    async fn stop(self) -> anyhow::Result<()> {
        drop(self.cluster);
        self.attestor.stop().await
    }
}

/// Lets agents attest on; what to try, and what runs.
pub(super) async fn begin(running: Running) -> anyhow::Result<(String, (Running, Vec<Child>))> {
    let attest_on = running
        .members
        .iter()
        .filter(|member| member.six.attests_on);
    let agents = attest_on
        .map(|member| member.machine.keep_attesting(keep::INTERVAL, None, None))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let words = words::what_to_try(&running)?;
    Ok((words, (running, agents)))
}

/// Until we are told to end; then everything ends in order.
pub(super) async fn wait(running: (Running, Vec<Child>)) -> anyhow::Result<()> {
    let (mut running, agents) = running;
    keep::until_told(&mut running.attestor).await?;
    keep::end_agents(agents).await;
    running.stop().await
}
