//! What hosts do, and at which rate, in a run without a mode.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Target;

/// Most connections that are held open unless told otherwise.
const CONNECTIONS: usize = 1000;

#[derive(Args, Debug)]
pub(crate) struct Rounds {
    #[command(flatten)]
    pub(crate) target: Target,

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
    #[arg(long, conflicts_with = "boot_log")]
    pub(crate) runtime_list: bool,

    #[command(flatten)]
    pub(crate) admissions: Admissions,
}

/// Pods that are bound to the hosts' nodes, after the rounds.
#[derive(Args, Debug)]
pub(crate) struct Admissions {
    /// Then let a cluster's scheduler bind pods to nodes, so many a second: reviews to the attestor's webhook
    #[arg(long, value_name = "R", value_parser = positive_rate)]
    pub(crate) admissions: Option<f64>,

    /// For how long bindings are due
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        requires = "admissions"
    )]
    admissions_for: u32,

    /// Folder in which fdatasync is timed meanwhile, ten times a second: name the attestor's data folder, or one on
    /// the same disk
    #[arg(long, value_name = "FOLDER", requires = "admissions")]
    pub(crate) fdatasync_in: Option<PathBuf>,

    /// Then send the same bindings to a webhook that only parses them: the file that `tpm-sim-load parse` wrote
    #[arg(long, value_name = "FILE", requires = "admissions")]
    pub(crate) beside: Option<PathBuf>,
}

impl Rounds {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.duration.into())
    }

    pub(crate) fn connections(&self) -> usize {
        let hosts = self.target.hosts();
        match self.connections {
            Some(connections) => (connections as usize).min(hosts),
            None => hosts.min(CONNECTIONS),
        }
    }
}

impl Admissions {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.admissions_for.into())
    }
}

/// A number a second that can be paced.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| (0.0..=1e6).contains(rate))
        .ok_or_else(|| "a rate is a number from 0 to 1000000".to_owned())
}

fn positive_rate(text: &str) -> Result<f64, String> {
    let rate = rate(text).ok().filter(|rate| *rate > 0.0);
    rate.ok_or_else(|| "this rate is a number above 0, up to 1000000".to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use clap::Parser as _;

    use super::super::Arguments;
    use super::*;

    #[test]
    fn there_is_no_use_for_more_connections_than_hosts() {
        let parsed = |more: &[&str]| {
            let words = ["tpm-sim-load", "--operator", "o"].iter().chain(more);
            let arguments = Arguments::try_parse_from(words).unwrap();
            arguments.rounds.connections()
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
        assert_eq!((rate("0.5"), rate("0")), (Ok(0.5), Ok(0.0)));
        assert!(positive_rate("0").is_err());
    }
}
