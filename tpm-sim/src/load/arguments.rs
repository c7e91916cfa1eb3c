//! The command line of `tpm-sim-load`, as typed.

mod rounds;
mod target;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use rounds::{Admissions, Rounds};
pub(crate) use target::Target;

const AFTER: &str = "\
Examples:
  tpm-sim-load --operator operator.json --policy                 100 hosts, 10 rounds a second, 10 seconds
  tpm-sim-load --operator operator.json --hosts 2000 --rate 0    as fast as the server answers
  tpm-sim-load --operator operator.json --hosts 6000 --rate 100 --duration 300
                                                                 what 6000 hosts do that attest each minute
  tpm-sim-load --operator operator.json --duration 0             enrolments and first rounds only
  tpm-sim-load --operator operator.json --reboot                 every round brings the whole boot log
  tpm-sim-load --operator operator.json --admissions 2000 --fdatasync-in FOLDER
                                                                 pods are bound to nodes as well
  tpm-sim-load memory --operator operator.json --hosts 110000    what an idle host costs in memory
  tpm-sim-load outage --operator operator.json --hosts 10000     how long until all are fresh after a restart
  tpm-sim-load releases --operator operator.json --hosts 1000    a rollout of an encrypted image to all hosts at once

Three phases are measured: enrolments; first rounds, as fast as the server answers; then rounds at --rate, each
due at its own moment. A late answer does not put off the rounds after it, and its latency counts from when the
round was due. With --admissions there is a fourth.

For test attestors only: a simulator's root is imported and hosts are added, neither of which goes away again.
The program should have a machine, or at least cores, of its own. See docs/load.md.";

/// Loads an attestor with simulated hosts: enrols them, and lets them attest at a given rate
///
/// Each host has its own keys and connection, and sends what an agent would; its TPM is software without a
/// process. Exit code 0: every round was answered as affirming; 1: not every one, or the run could not be done.
#[derive(Debug, Parser)]
#[command(
    name = "tpm-sim-load",
    version,
    after_help = AFTER,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,

    #[command(flatten)]
    pub(crate) rounds: Rounds,

    /// Print a completion script for a shell, and do nothing else
    #[arg(long, value_name = "SHELL", exclusive = true)]
    pub(crate) completions: Option<Shell>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Measure what an idle host costs the server in memory
    Memory(Memory),

    /// Attest as agents do, through a restart of the attestor, until every host is fresh again
    Outage(Outage),

    /// Let all hosts pull an image of encrypted layers at once, and ask for the key of each
    Releases(Releases),

    /// Serve a webhook that parses reviews and decides nothing: what admissions are measured beside
    Parse(Parse),
}

/// Hosts enrol, attest once, and are gone. The server's memory is read after `--first` of them and after all,
/// each time when it has been idle for a few seconds; what the others added, divided by their number, is what a
/// host costs. Exit code 1: some round was not affirming, or the server serves no metrics.
#[derive(Args, Debug)]
pub(crate) struct Memory {
    #[command(flatten)]
    pub(crate) target: Target,

    /// After how many hosts memory is read for the first time: what does not grow with hosts is there by then
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) first: u32,
}

/// Each host attests every `--interval` seconds, give or take a tenth, and after a failure as an agent does: after
/// a second, then twice that, up to the interval, or as long as the attestor asks for. Once all have attested so,
/// standard error says `steady`: stop or kill the attestor and start it again on the same data, at the same
/// address. Exit code 0: every host was affirming again after it; 1: not every one.
#[derive(Args, Debug)]
pub(crate) struct Outage {
    #[command(flatten)]
    pub(crate) target: Target,

    /// Seconds between rounds of a host
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) interval: u32,

    /// Seconds after which an outage that did not come, or did not pass, is waited for no longer
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) patience: u32,
}

/// All hosts enrol and attest. Then each does an ordinary round for each layer, and at last asks for the key of each
/// layer, with a fresh round each time, and opens it: what a release costs the server beyond its appraisal is the
/// difference. Exit code 0: every release was opened; 1: not every one.
#[derive(Args, Debug)]
pub(crate) struct Releases {
    #[command(flatten)]
    pub(crate) target: Target,

    /// Encrypted layers of the image
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) layers: u32,
}

/// A webhook over TLS that parses each review of a binding, and allows it without a look. Not for a cluster: for
/// `--beside`. It serves until it is stopped.
#[derive(Args, Debug)]
pub(crate) struct Parse {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,

    /// Where to write how it is reached, for `--beside`
    #[arg(long, value_name = "FILE")]
    pub(crate) credential: PathBuf,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn each_mode_has_its_own_target_and_wants_it_named() {
        let parse = |words: &[&str]| {
            Arguments::try_parse_from(["tpm-sim-load"].iter().chain(words)).map(|all| all.mode)
        };
        assert!(parse(&["--operator", "o"]).unwrap().is_none());
        let memory = parse(&["memory", "--operator", "o", "--hosts", "7"]).unwrap();
        assert!(
            matches!(memory, Some(Mode::Memory(memory)) if memory.target.hosts() == 7 && memory.first == 10_000)
        );
        assert!(parse(&["--operator", "o", "memory"]).is_err());
    }
}
