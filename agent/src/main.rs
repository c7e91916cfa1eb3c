//! The command `touchstone-agent`.

mod arguments;
mod output;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use tokio::signal::unix::{SignalKind, signal};
use touchstone_agent::{Settings, attest_once, enrol, run, status};
use touchstone_evidence::wire::JoinToken;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    touchstone_agent::quiet::silence_the_tss();
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("touchstone-agent: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its sources, without those that only say again what was said (as those of the TSS do).
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for link in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = link;
        } else if !text.ends_with(&link) {
            text = format!("{text}: {link}");
        }
    }
    text
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
    let settings = arguments.settings.resolve();
    match arguments.command {
        Command::Enrol {
            join_token,
            again,
            json,
        } => {
            let token = read_token(&join_token)?;
            output::enrolment(&enrol(&settings, &token, again).await?, json)
        }
        Command::Attest {
            once: true, json, ..
        } => output::outcome(&attest_once(&settings).await?, json),
        Command::Attest { interval, json, .. } => {
            rounds(&settings, None, interval, Some(json)).await
        }
        Command::Run {
            join_token,
            interval,
        } => {
            let token = match join_token {
                Some(path) if status(&settings)?.enrolled.is_none() => Some(read_token(&path)?),
                _ => None,
            };
            rounds(&settings, token.as_ref(), interval, None).await
        }
        Command::Status { json } => output::status(&status(&settings)?, json),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "touchstone-agent", &mut io::stdout());
            Ok(())
        }
    }
}

/// Until SIGTERM or SIGINT. Outcomes are printed if `json` says how; the log tells them anyway.
async fn rounds(
    settings: &Settings,
    token: Option<&JoinToken>,
    interval: u64,
    json: Option<bool>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let report = |outcome: &_| {
        if let Some(Err(error)) = json.map(|json| output::outcome(outcome, json)) {
            tracing::warn!("{error:#}");
        }
    };
    run(settings, token, Duration::from_secs(interval), report, stop).await?;
    Ok(())
}

fn read_token(path: &Path) -> anyhow::Result<JoinToken> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the join token `{}`", path.display()))?;
    Zeroizing::new(text)
        .parse()
        .with_context(|| format!("`{}` holds no join token", path.display()))
}

/// To stderr; a command that prints what it did logs only what went wrong.
fn log(daemon: bool) -> anyhow::Result<()> {
    let default = if daemon { "info" } else { "error" };
    let filter = match std::env::var("TOUCHSTONE_LOG") {
        Ok(filter) => filter
            .parse::<EnvFilter>()
            .with_context(|| format!("TOUCHSTONE_LOG is `{filter}`, but levels like `info` or `touchstone_agent=debug` are expected"))?,
        Err(_) => EnvFilter::new(default),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_repeats_is_said_once() {
        let error = anyhow::anyhow!("refused")
            .context("refused")
            .context("quote failed");
        assert_eq!(chain(&error), "quote failed: refused");
    }
}
