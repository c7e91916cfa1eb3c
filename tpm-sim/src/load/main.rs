//! The command `tpm-sim-load`: many hosts whose TPMs are only keys, enrolled with and attesting to one attestor.
//!
//! Over the wire they are hosts: own keys, own certificates, own connections, every byte as an agent sends it.
//! Invariant: nothing here needs the agent or libtss2, so that one program alone loads a server.

mod admissions;
mod arguments;
mod boot;
mod crew;
mod drive;
mod enrol;
mod host;
mod latency;
mod load;
mod memory;
mod metrics;
mod operator;
mod outage;
mod pace;
mod parser;
mod pool;
mod preparation;
mod progress;
mod recording;
mod releases;
mod report;
mod run;
mod subject;
mod table;
mod tally;
mod wire;
mod yardstick;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use serde::Serialize;

use arguments::{Arguments, Mode};

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tpm-sim-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(shell) = arguments.completions {
        let mut command = Arguments::command();
        clap_complete::generate(shell, &mut command, "tpm-sim-load", &mut io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let (said, good) = runtime.block_on(run(arguments))?;
    writeln!(io::stdout().lock(), "{said}")?;
    Ok(match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Does it: what is to be printed, and whether it is as it should be.
async fn run(arguments: &Arguments) -> anyhow::Result<(String, bool)> {
    match &arguments.mode {
        None => {
            let rounds = &arguments.rounds;
            let report = run::run(rounds).await?;
            let good = report.as_it_should_be();
            conclude(&report, good, rounds.target.json, table::text)
        }
        Some(Mode::Memory(memory)) => {
            let report = memory::run(memory).await?;
            conclude(&report, true, memory.target.json, memory::text)
        }
        Some(Mode::Outage(outage)) => {
            let report = outage::run(outage).await?;
            let good = report.all_fresh();
            conclude(&report, good, outage.target.json, outage::text)
        }
        Some(Mode::Releases(releases)) => {
            let report = releases::run(releases).await?;
            let good = report.is_whole();
            conclude(&report, good, releases.target.json, releases::text)
        }
        Some(Mode::Parse(parse)) => {
            parser::serve(parse.listen, &parse.credential).await?;
            Ok((String::new(), true))
        }
    }
}

/// What is printed of a report, as JSON or as `text`, and whether it is as it should be.
fn conclude<R: Serialize>(
    report: &R,
    good: bool,
    json: bool,
    text: fn(&R) -> String,
) -> anyhow::Result<(String, bool)> {
    let said = match json {
        true => serde_json::to_string_pretty(report)?,
        false => text(report),
    };
    Ok((said, good))
}
