//! The command `tpm-sim-load`: many hosts whose TPMs are only keys, enrolled with and attesting to one attestor.
//!
//! Over the wire they are hosts: own keys, own certificates, own connections, every byte as an agent sends it.
//! Invariant: nothing here needs the agent or libtss2, so that one program alone loads a server.

mod arguments;
mod boot;
mod drive;
mod enrol;
mod host;
mod load;
mod metrics;
mod operator;
mod pool;
mod preparation;
mod progress;
mod report;
mod run;
mod table;
mod tally;
mod wire;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use arguments::Arguments;

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
    let report = runtime.block_on(run::run(arguments))?;
    report.print(arguments.json)?;
    Ok(match report.as_it_should_be() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
