//! The command `tpm-sim`.

mod attestor;
mod break_command;
mod cli;
mod demo;
mod fleet;
mod machine;
mod on;
mod process;
mod scratch;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};

use cli::{Arguments, Command, ProfileCommand};
use touchstone_tpm_sim::profile::Profile;

fn main() -> ExitCode {
    touchstone_agent::quiet::silence_the_tss();
    match start(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tpm-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Demo(options) => demo::run(options),
        Command::Fleet(options) => fleet::run(&options),
        Command::Break(options) => break_command::run(&options),
        Command::DemoStop => demo::stop(),
        Command::On(on) => on::run(&on),
        Command::Review(review) => demo::review(&review),
        Command::Profile(command) => profile(command).map(|()| ExitCode::SUCCESS),
        Command::Man { folder } => man(&folder).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "tpm-sim", &mut io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn man(folder: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot write man pages into `{}`", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    clap_mangen::generate_to(Arguments::command(), folder).with_context(cannot)?;
    let first = folder.join("tpm-sim.1");
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "wrote man pages; read them with: man -l {}",
        first.display()
    )?;
    Ok(())
}

fn profile(command: ProfileCommand) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match command {
        ProfileCommand::List => {
            for Profile { name, about, .. } in Profile::all() {
                writeln!(out, "{name:14}  {about}")?;
            }
        }
        ProfileCommand::Reference {
            profile,
            name,
            life_cycle,
        } => {
            let name = name.as_deref().unwrap_or(profile.reference_name);
            let manifest = profile.reference_values(name, life_cycle.into())?;
            out.write_all(manifest.as_bytes())?;
        }
    }
    Ok(())
}
