//! `tpm-sim fleet`: as many simulated hosts as are wanted, each with its swtpm and its agent, until they are told
//! to end. What it shows of them is what the attestor says.

mod board;
mod muster;
mod standing;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::time::sleep;
use touchstone_tpm_sim::swtpm;

use crate::attestor::Console;
use crate::cli::Fleet;
use crate::{process, scratch};
use board::Board;
use muster::{Fielded, Mustered};
use standing::Standing;

/// What the folders of fleets are called.
const FOLDER_PREFIX: &str = "touchstone-fleet-";
/// From one look at the attestor to the next.
const LOOK: Duration = Duration::from_secs(1);
/// What work that was cut off gets to end in.
const GRACE: Duration = Duration::from_secs(3);
/// As shells tell what SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Runs the fleet.
pub(crate) fn run(options: &Fleet) -> anyhow::Result<ExitCode> {
    swtpm::available()?;
    for program in ["touchstone", "touchstone-agent"] {
        process::sibling(program)?;
    }
    let folder = scratch::make(FOLDER_PREFIX)?;
    let runtime = process::runtime()?;
    let ended = runtime.block_on(live(options, folder.path()));
    // Machines that are still being made end with their thread.
    runtime.shutdown_timeout(GRACE);
    // Nothing was begun where there is nothing to look up.
    if ended.is_err() && fs::read_dir(folder.path())?.next().is_some() {
        scratch::tell_where(&folder.keep());
    }
    ended
}

async fn live(options: &Fleet, folder: &Path) -> anyhow::Result<ExitCode> {
    let mustered = tokio::select! {
        mustered = muster::muster(options, folder) => mustered?,
        told = process::told_to_end() => {
            told?;
            eprintln!("tpm-sim: interrupted");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    let Mustered {
        mut attestor,
        console,
        mut hosts,
        token,
    } = mustered;
    let agents = hosts
        .iter()
        .map(|host| {
            host.machine
                .keep_attesting(options.interval, Some(&token), None)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let began = Instant::now();
    let mut board = Board::start(options);
    let mut standing = Standing::begin(&hosts);
    let ended = tokio::select! {
        watched = watch(&console, &mut standing, &mut board) => watched,
        told = process::told_to_end() => told,
        ended = muster::ended(attestor.as_mut()) => ended,
    };
    board.clear();
    stop(agents, &mut hosts).await;
    if let Some(attestor) = attestor {
        attestor.stop().await?;
    }
    ended?;
    conclude(options, &standing, began)
}

/// Looks at the attestor for ever.
async fn watch(
    console: &Console,
    standing: &mut Standing,
    board: &mut Board,
) -> anyhow::Result<()> {
    loop {
        let listed = console.run(&[&"host", &"list"]).await?;
        standing.learn(listed)?;
        board.show(standing);
        sleep(LOOK).await;
    }
}

/// Agents first, then their TPMs.
async fn stop(agents: Vec<Child>, hosts: &mut Vec<Fielded>) {
    for (agent, host) in agents.into_iter().zip(hosts.iter()) {
        // One that ended before its time says why in its log; the others are to end all the same.
        if let Err(error) = process::stop(agent, &format!("the agent of {}", host.name)).await {
            let log = fs::read_to_string(host.machine.agent_log()).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            eprintln!("tpm-sim: {error:#}: {last}");
        }
    }
    hosts.clear();
}

fn conclude(options: &Fleet, standing: &Standing, began: Instant) -> anyhow::Result<ExitCode> {
    let report = standing.report(began.elapsed());
    let mut out = io::stdout().lock();
    match options.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        false => writeln!(out, "{}", board::table(standing))?,
    }
    Ok(match (report.all_judged, report.as_expected) {
        (false, _) => ExitCode::from(INTERRUPTED),
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::FAILURE,
    })
}
