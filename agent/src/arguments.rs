//! The command line, as typed.

mod command;
mod host;
mod keyprovider;
mod runtimes;

use clap::Parser;
use touchstone_agent::Trouble;

pub(crate) use command::{Command, Transit};

use host::SettingsArguments;
use runtimes::RuntimeArguments;

const AFTER: &str = "\
A new host, start to finish:
  touchstone-agent enrol --join-token /root/join-token
  touchstone-agent attest --once
  touchstone-agent run

An operator makes the join token with `touchstone join-token create`, and has this host's endorsement
key in the inventory, or approves it when this host asks: `run --join-token FILE` goes on asking. TOUCHSTONE_LOG sets the log level (`error`, `info`, `debug`).

Exit codes, of which 1 and 7 do not end a daemon:
  0  done";

fn after() -> String {
    let line = |trouble: Trouble| format!("\n  {}  {}", trouble.exit_code(), trouble.meaning());
    let troubles: String = Trouble::ALL.into_iter().map(line).collect();
    format!("{AFTER}{troubles}")
}

/// Proves to an attestor, with this host's TPM, what the host booted and where it is
#[derive(Debug, Parser)]
#[command(name = "touchstone-agent", version, after_help = after())]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) settings: SettingsArguments,
    #[command(flatten)]
    pub(crate) runtimes: RuntimeArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = Arguments::command().render_help().to_string();
        for trouble in Trouble::ALL {
            assert!(help.contains(&format!("\n  {}  ", trouble.exit_code())));
        }
    }

    #[test]
    fn settings_stand_before_or_after_the_command() {
        for line in [
            ["touchstone-agent", "--state", "/s", "status"],
            ["touchstone-agent", "status", "--state", "/s"],
        ] {
            let settings = Arguments::parse_from(line).settings.resolve();
            assert_eq!(settings.state, PathBuf::from("/s"));
        }
    }
}
