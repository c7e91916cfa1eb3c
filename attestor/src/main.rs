//! `touchstone`: the attestor and its commands.

use std::process::ExitCode;

use clap::Parser as _;
use touchstone_attestor::console::{self, Command};
use touchstone_attestor::duty::Duty;
use touchstone_attestor::serve;

/// A round makes some hundred short-lived allocations, and SQLite as many again: this one takes half the time of
/// glibc's for them, and takes the place of `malloc` for C too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("touchstone: {error:#}");
            ExitCode::from(serve::exit_code(&error))
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = console::Arguments::parse();
    // Two providers could be linked in; this one is meant, everywhere.
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new()?;
    let (settings, duty) = match arguments.command {
        Command::Serve(settings) => (settings, Duty::Attestor),
        Command::Kubernetes(settings) => (settings, Duty::Cluster),
        command => return runtime.block_on(console::run(command, &arguments.target)),
    };
    serve::start_logging(settings.log_json);
    runtime.block_on(serve::serve(settings, duty))?;
    Ok(ExitCode::SUCCESS)
}
