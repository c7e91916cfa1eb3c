//! `tpm-sim demo`: hosts, attestor and webhook as real processes, and one table of what they say.
//!
//! Every cell of the table comes from the attestor's interface, and each is compared with what is due.
//! Children die with this process, and its folder goes with it unless there is something to look up.

mod encrypted;
mod expectation;
mod fleet;
mod host;
mod keep;
mod kubernetes;
mod machines;
mod progress;
mod registry;
mod report;
mod row;
mod stages;
mod webhook;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::cli::{Demo, Review};
use crate::{process, scratch};
use keep::Caller;
use stages::Staged;
use touchstone_tpm_sim::swtpm;
use webhook::Webhook;

pub(crate) use keep::stop;
pub(crate) use machines::Environment;

/// What the folders of demos are called.
const FOLDER_PREFIX: &str = "touchstone-demo-";
/// Longest that a demo may take; it takes a few seconds, and with encrypted images half a minute.
const DEMO_MAX: Duration = Duration::from_secs(240);
/// What work that was cut off gets to end in.
const GRACE: Duration = Duration::from_secs(3);

/// Runs the demo. Exit code 1: some answer was not the one that is due.
pub(crate) fn run(options: Demo) -> anyhow::Result<ExitCode> {
    if options.keep && !options.keeper {
        return keep::start(options);
    }
    swtpm::available()?;
    for program in ["touchstone", "touchstone-agent"] {
        process::sibling(program)?;
    }
    if options.encrypted {
        encrypted::available()?;
    }
    let caller = options.keeper.then(Caller::inherit).transpose()?;
    let folder = scratch::make(FOLDER_PREFIX)?;
    let runtime = process::runtime()?;
    let ended = runtime.block_on(async {
        let staged = timeout(DEMO_MAX, stage(options, folder.path()));
        tokio::select! {
            staged = staged => match staged {
                Ok(staged) => staged.map(Some),
                Err(_) => Err(anyhow!("the demo is not done after {DEMO_MAX:?}")),
            },
            interrupted = interruption(caller.as_ref()) => interrupted.map(|()| None),
        }
    });
    match ended {
        Ok(Some(staged)) => conclude(options, staged, folder, caller, runtime),
        Ok(None) => {
            runtime.shutdown_timeout(GRACE);
            eprintln!("tpm-sim: interrupted");
            Ok(ExitCode::from(130))
        }
        Err(error) => {
            runtime.shutdown_timeout(GRACE);
            scratch::tell_where(&folder.keep());
            Err(error)
        }
    }
}

/// Sends the reviews of a pod that is bound to a node, and prints what was decided. Exit code 1: refused.
pub(crate) fn review(review: &Review) -> anyhow::Result<ExitCode> {
    let decision = process::runtime()?
        .block_on(async { Webhook::of(&review.operator)?.place(&review.node).await })?;
    match (review.json, &decision.message) {
        (true, _) => println!("{}", serde_json::to_string(&decision)?),
        (false, None) => println!("admitted"),
        (false, Some(message)) => println!("refused: {message}"),
    }
    Ok(match decision.admitted {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What came of one of the demos.
enum Outcome {
    Hosts(Box<Staged>),
    Cluster(Box<kubernetes::Staged>),
}

async fn stage(options: Demo, folder: &Path) -> anyhow::Result<Outcome> {
    Ok(match options.kubernetes {
        true => Outcome::Cluster(Box::new(kubernetes::run(options, folder).await?)),
        false => Outcome::Hosts(Box::new(stages::run(options, folder).await?)),
    })
}

impl Outcome {
    /// To standard output; whether every row is as expected.
    fn print(&self, json: bool) -> io::Result<bool> {
        match self {
            Self::Hosts(staged) => staged.report.print(json)?,
            Self::Cluster(staged) => staged.report.print(json)?,
        }
        Ok(match self {
            Self::Hosts(staged) => staged.report.as_expected,
            Self::Cluster(staged) => staged.report.as_expected,
        })
    }
}

/// Says what came of it, and goes on if that was asked for.
fn conclude(
    options: Demo,
    outcome: Outcome,
    folder: TempDir,
    caller: Option<Caller>,
    runtime: Runtime,
) -> anyhow::Result<ExitCode> {
    if !outcome.print(options.json)? {
        scratch::tell_where(&folder.keep());
        return Ok(ExitCode::FAILURE);
    }
    let (json, path) = (options.json, folder.path());
    match (outcome, caller) {
        (Outcome::Hosts(staged), Some(caller)) => {
            if let Some(running) = staged.running {
                let begin = keep::begin(running, path);
                keep::hold(&folder, caller, json, &runtime, begin, keep::wait)?;
            }
        }
        (Outcome::Cluster(staged), Some(caller)) => {
            if let Some(running) = staged.running {
                let begin = kubernetes::begin(running);
                keep::hold(&folder, caller, json, &runtime, begin, kubernetes::wait)?;
            }
        }
        (_, None) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Until SIGINT or SIGTERM, or until the caller of a keeper has gone.
async fn interruption(caller: Option<&Caller>) -> anyhow::Result<()> {
    let gone = async {
        match caller {
            Some(caller) => caller.gone().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        told = process::told_to_end() => told,
        gone = gone => gone,
    }
}
