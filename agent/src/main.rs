//! The command `touchstone-agent`.

mod arguments;
mod output;
mod secrets;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use touchstone_agent::keyprovider::ask::{self, ask};
use touchstone_agent::purge::{self, Mode};
use touchstone_agent::transit::ask::Daemon;
use touchstone_agent::trouble::{self, chain};
use touchstone_agent::{
    Runtimes, Settings, Trouble, attest, attest_once, check, enrol, join_token, run, status,
    transit, trust,
};
use touchstone_evidence::keyprovider::MESSAGE_MAX;
use touchstone_evidence::wire::JoinToken;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use zeroize::Zeroizing;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    touchstone_agent::quiet::silence_the_tss();
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // As a last word: standard error may be a file on a full disk.
            let _ = writeln!(io::stderr(), "touchstone-agent: {}", chain(error.as_ref()));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<ask::Error>() {
        return trouble::exit_code(error);
    }
    match error.downcast_ref::<transit::ask::Error>() {
        Some(error) => trouble::exit_code_of_transit(error),
        None => trouble(error).exit_code(),
    }
}

/// What else goes wrong here is of this process: its signals, its output.
fn trouble(error: &anyhow::Error) -> Trouble {
    let known = [
        error.downcast_ref::<run::Error>().map(Trouble::from),
        error.downcast_ref::<enrol::Error>().map(Trouble::from),
        error.downcast_ref::<attest::Error>().map(Trouble::from),
        error.downcast_ref::<status::Error>().map(Trouble::from),
        error.downcast_ref::<Kept>().map(|kept| kept.0),
        error
            .downcast_ref::<join_token::Error>()
            .map(|_| Trouble::Usage),
        error.downcast_ref::<Usage>().map(|_| Trouble::Usage),
        error.downcast_ref::<NoRuntime>().map(|_| Trouble::Usage),
    ];
    known
        .into_iter()
        .flatten()
        .next()
        .unwrap_or(Trouble::Passing)
}

/// A check found something.
#[derive(Debug, thiserror::Error)]
#[error("this host cannot attest; what is `bad` above keeps it from that")]
struct Kept(Trouble);

/// There is nothing to purge from.
#[derive(Debug, thiserror::Error)]
#[error("no runtime is named; say which with `--containerd SOCKET` or `--podman-root DIR`")]
struct NoRuntime;

/// What was to go is there still.
#[derive(Debug, thiserror::Error)]
#[error("not all is purged; what is left or failed is named above")]
struct Left;

/// A setting, or a file that it names, which cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
struct Usage {
    said: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Usage {
    fn new<E>(said: String) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        |source| Self {
            said,
            source: source.into(),
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    log(arguments.command.is_daemon())?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(act(arguments))
}

async fn act(arguments: Arguments) -> anyhow::Result<()> {
    let mut settings = arguments.settings.resolve();
    let runtimes = arguments.runtimes.resolve();
    match arguments.command {
        Command::Enrol {
            join_token,
            again,
            json,
        } => {
            let token = join_token::read(&join_token)?;
            output::enrolment(&enrol(&settings, &token, again).await?, json)
        }
        Command::Attest {
            once: true, json, ..
        } => output::outcome(&attest_once(&settings).await?, json),
        Command::Attest { interval, json, .. } => {
            rounds(&settings, &runtimes, None, interval, Some(json)).await
        }
        Command::Check { json } => look(&settings, &runtimes, json).await,
        Command::Run { check: true, .. } => look(&settings, &runtimes, false).await,
        Command::Run {
            join_token,
            interval,
            check: false,
            keyprovider,
        } => {
            settings.keyprovider = keyprovider.resolve();
            let token = match join_token {
                Some(path) if status(&settings)?.enrolled.is_none() => {
                    Some(join_token::read(&path)?)
                }
                _ => None,
            };
            rounds(&settings, &runtimes, token.as_ref(), interval, None).await
        }
        Command::Keyprovider { socket, patience } => unwrap(&socket, patience).await,
        Command::Transit {
            act,
            socket,
            associated_data,
            wait,
            patience,
        } => {
            let [wait, patience] = [wait, patience].map(Duration::from_secs);
            let socket = &socket;
            let daemon = Daemon {
                socket,
                wait,
                patience,
            };
            secrets::transit(&act, &daemon, &associated_data).await
        }
        Command::Trust { join_token } => {
            let token = join_token::read(&join_token)?;
            output::trusted(&token.server, &trust(&settings, &token)?)
        }
        Command::Purge { dry_run, json } => purge_now(&settings, &runtimes, dry_run, json).await,
        Command::Status { json } => output::status(&status(&settings)?, json),
        Command::Man { folder } => {
            let cannot = || format!("cannot write man pages into `{}`", folder.display());
            fs::create_dir_all(&folder).with_context(cannot)?;
            clap_mangen::generate_to(Arguments::command(), &folder).with_context(cannot)?;
            output::pages(&folder)
        }
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "touchstone-agent", &mut io::stdout());
            Ok(())
        }
    }
}

/// One message on standard input; errors are the runtime's to show.
async fn unwrap(socket: &Path, patience: u64) -> anyhow::Result<()> {
    // One byte more, to see that it is too many.
    let most = u64::try_from(MESSAGE_MAX)?.saturating_add(1);
    let mut message = Zeroizing::new(Vec::new());
    let read = io::stdin().lock().take(most).read_to_end(&mut message);
    read.context("cannot read the message on standard input")?;
    let patience = Duration::from_secs(patience);
    output::secret(&ask(socket, &message, patience).await?)
}

/// Prints what was seen. Trouble is an error that says no more than that.
async fn look(settings: &Settings, runtimes: &Runtimes, json: bool) -> anyhow::Result<()> {
    let report = check(settings, runtimes).await;
    output::report(&report, json)?;
    match report.trouble() {
        Some(trouble) => Err(Kept(trouble).into()),
        None => Ok(()),
    }
}

/// The attestor is told if it can be.
async fn purge_now(
    settings: &Settings,
    runtimes: &Runtimes,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<()> {
    if runtimes.is_empty() {
        return Err(NoRuntime.into());
    }
    let mode = if dry_run { Mode::DryRun } else { Mode::Purge };
    let purged = touchstone_agent::purge(runtimes, &purge::Which::All, mode).await;
    output::purged(&purged, mode, json)?;
    if mode == Mode::Purge
        && let Err(error) = purge::tell(&settings.state, &purged).await
    {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the attestor was not told"
        );
    }
    let failed = |one: &purge::Purged| match mode {
        Mode::Purge => !one.is_complete(),
        Mode::DryRun => one.error.is_some(),
    };
    match purged.iter().any(failed) {
        true => Err(Left.into()),
        false => Ok(()),
    }
}

/// Until SIGTERM or SIGINT; SIGHUP asks for a round at once. Outcomes are printed if `json` says how; the log tells them anyway.
async fn rounds(
    settings: &Settings,
    runtimes: &Runtimes,
    token: Option<&JoinToken>,
    interval: u64,
    json: Option<bool>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for signals")?;
    let now = Notify::new();
    let stop = async {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => now.notify_one(),
            }
        }
    };
    let report = |outcome: &_| {
        if let Some(Err(error)) = json.map(|json| output::outcome(outcome, json)) {
            tracing::warn!("{error:#}");
        }
    };
    let interval = Duration::from_secs(interval);
    run(settings, runtimes, token, interval, report, &now, stop).await?;
    Ok(())
}

/// To stderr; a command that prints what it did logs only what went wrong. What cannot be written is lost, and
/// is no reason to stop.
fn log(daemon: bool) -> anyhow::Result<()> {
    let default = if daemon { "info" } else { "error" };
    let levels = std::env::var("TOUCHSTONE_LOG").unwrap_or_else(|_| default.to_owned());
    let levels = levels.parse::<Targets>().map_err(Usage::new(format!(
        "TOUCHSTONE_LOG is `{levels}`, but levels like `info` or `touchstone_agent=debug` are expected"
    )))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .log_internal_errors(false);
    tracing_subscriber::registry()
        .with(lines.with_filter(levels))
        .init();
    Ok(())
}
