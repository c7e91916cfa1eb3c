//! The command line of `tpm-sim-load`, as typed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use clap_complete::Shell;

/// Most connections that are held open unless told otherwise.
const CONNECTIONS: usize = 1000;

const AFTER: &str = "\
Examples:
  tpm-sim-load --operator operator.json --policy                 100 hosts, 10 rounds a second, 10 seconds
  tpm-sim-load --operator operator.json --hosts 2000 --rate 0    as fast as the server answers
  tpm-sim-load --operator operator.json --hosts 6000 --rate 100 --duration 300
                                                                 what 6000 hosts do that attest each minute
  tpm-sim-load --operator operator.json --duration 0             enrolments and first rounds only
  tpm-sim-load --operator operator.json --reboot                 every round brings the whole boot log

Three phases are measured: enrolments; first rounds, as fast as the server answers; then rounds at --rate, each
due at its own moment. A late answer does not put off the rounds after it, and its latency counts from when the
round was due.

For test attestors only: a simulator's root is imported and hosts are added, neither of which goes away again.
The program should have a machine, or at least cores, of its own. See docs/load.md.";

/// Loads an attestor with simulated hosts: enrols them, and lets them attest at a given rate
///
/// Each host has its own keys and connection, and sends what an agent would; its TPM is software without a
/// process. Exit code 0: every round was answered as affirming; 1: not every one, or the run could not be done.
#[derive(Debug, Parser)]
#[command(name = "tpm-sim-load", version, after_help = AFTER)]
pub(crate) struct Arguments {
    /// The operator's credential, as `touchstone serve` writes it into its data folder
    #[arg(
        long,
        value_name = "FILE",
        env = "TOUCHSTONE_OPERATOR",
        required_unless_present = "completions"
    )]
    operator: Option<PathBuf>,

    /// Base URL of the attestor; by default the one in the operator's credential
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,

    /// How many hosts there are
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    hosts: u32,

    /// Rounds a second of all hosts together, evenly spread; 0: as many as are answered, each connection busy
    #[arg(long, value_name = "R", default_value_t = 10.0, value_parser = rate)]
    pub(crate) rate: f64,

    /// For how long rounds are due at that rate; 0: first rounds only
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    duration: u32,

    /// Most connections at once, the one used longest ago closed first; by default one a host, at most 1000. A host
    /// without one makes a new TLS handshake
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..))]
    connections: Option<u32>,

    /// Where no policy is in force, apply one under which the hosts are affirming
    #[arg(long)]
    pub(crate) policy: bool,

    /// Give each host a location tag, which its TPM certifies in every round
    #[arg(long)]
    pub(crate) tags: bool,

    /// Reboot each host before each round, so that it brings the whole boot log and its PCR banks
    #[arg(long)]
    pub(crate) reboot: bool,

    /// Give each host a boot log of its own, one event longer than the recorded one
    #[arg(long)]
    pub(crate) distinct_logs: bool,

    /// Let each host's kernel measure: a list of what ran goes with the first round after each boot
    #[arg(long)]
    pub(crate) runtime_list: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Print a completion script for a shell, and do nothing else
    #[arg(long, value_name = "SHELL", exclusive = true)]
    pub(crate) completions: Option<Shell>,
}

impl Arguments {
    pub(crate) fn operator(&self) -> anyhow::Result<&Path> {
        let operator = self.operator.as_deref();
        operator.context("name the operator's credential with --operator FILE")
    }

    pub(crate) fn hosts(&self) -> usize {
        self.hosts as usize
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.duration.into())
    }

    pub(crate) fn connections(&self) -> usize {
        match self.connections {
            Some(connections) => (connections as usize).min(self.hosts()),
            None => self.hosts().min(CONNECTIONS),
        }
    }
}

/// A number of rounds a second that can be paced.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| (0.0..=1e6).contains(rate))
        .ok_or_else(|| "a rate is a number from 0 to 1000000".to_owned())
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
    fn there_is_no_use_for_more_connections_than_hosts() {
        let parsed = |more: &[&str]| {
            let words = ["tpm-sim-load", "--operator", "o"].iter().chain(more);
            Arguments::try_parse_from(words).unwrap().connections()
        };
        assert_eq!(parsed(&[]), 100);
        assert_eq!(parsed(&["--connections", "7"]), 7);
        assert_eq!(parsed(&["--hosts", "3", "--connections", "7"]), 3);
        assert_eq!(parsed(&["--hosts", "5000"]), CONNECTIONS);
    }

    #[test]
    fn a_rate_can_be_paced() {
        for bad in ["-1", "NaN", "inf", "1e7", "fast"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert_eq!(rate("0.5"), Ok(0.5));
    }
}
