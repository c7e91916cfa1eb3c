//! The commands, and the options that each has for itself.

use std::path::PathBuf;

use clap::Subcommand;
use clap_complete::Shell;
use touchstone_agent::settings::KeyProviderSettings;
use touchstone_evidence::annotation::KeyName;

use super::keyprovider::KeyProviderArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make keys in the TPM and have the attestor accept them; safe to repeat
    Enrol {
        /// File with a join token that an operator made; keep it at mode 0600
        #[arg(long, value_name = "FILE", env = "TOUCHSTONE_JOIN_TOKEN")]
        join_token: PathBuf,

        /// Enrol with new keys though enrolled already: after a TPM2_Clear, once an operator agreed, or to
        /// move to another attestor
        #[arg(long)]
        again: bool,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Attest and print what the attestor says, round after round for ever; with `--once`, one round. A bad
    /// verdict is an answer, not a failure
    Attest {
        /// Attest once and exit
        #[arg(long)]
        once: bool,

        /// Seconds between rounds, give or take a tenth
        #[arg(long, value_name = "SECONDS", env = "TOUCHSTONE_INTERVAL", default_value_t = 60, value_parser = interval())]
        interval: u64,

        /// Print JSON, one line a round
        #[arg(long)]
        json: bool,
    },

    /// Run as a daemon: enrol if a join token is given and not yet enrolled, then attest for ever. SIGHUP asks
    /// for a round at once
    Run {
        /// File with the join token; not read again once enrolled
        #[arg(long, value_name = "FILE", env = "TOUCHSTONE_JOIN_TOKEN")]
        join_token: Option<PathBuf>,

        /// Seconds between rounds, give or take a tenth
        #[arg(long, value_name = "SECONDS", env = "TOUCHSTONE_INTERVAL", default_value_t = 60, value_parser = interval())]
        interval: u64,

        /// Look at everything that a round takes, as `check` does, and exit
        #[arg(long)]
        check: bool,

        #[command(flatten)]
        keyprovider: KeyProviderArguments,
    },

    /// Be the key provider that container runtimes run as a program (ocicrypt `cmd`): a message on standard input, the
    /// daemon's answer on standard output
    ///
    /// It asks `touchstone-agent run` on its socket, which answers to root and to its own user. Where a runtime can ask
    /// by gRPC it may ask there itself.
    Keyprovider {
        /// The daemon's socket
        #[arg(long, value_name = "SOCKET", env = "TOUCHSTONE_KEYPROVIDER", default_value = KeyProviderSettings::SOCKET)]
        socket: PathBuf,

        /// Seconds to wait for an answer; longer than the daemon's `--keyprovider-patience`
        #[arg(long, value_name = "SECONDS", default_value_t = KeyProviderSettings::ANSWER, value_parser = answer())]
        patience: u64,
    },

    /// Encrypt or decrypt a secret on this host, while it is trusted, from standard input to standard output
    ///
    /// It asks `touchstone-agent run` on its socket, which answers to root and to its own user. The secret is shown to this
    /// host alone; but the key that it is encrypted under is released by the attestor to every host that the key's policy
    /// lets have it, and each of them decrypts what this one encrypted. For one host alone take a policy of its own.
    Transit {
        #[command(subcommand)]
        act: Transit,

        /// The daemon's socket
        #[arg(long, value_name = "SOCKET", env = "TOUCHSTONE_TRANSIT", default_value = KeyProviderSettings::TRANSIT, global = true)]
        socket: PathBuf,

        /// What belongs to the secret and is no secret, such as what it is for: it is decrypted with the same words alone
        #[arg(long, value_name = "TEXT", default_value = "", global = true)]
        associated_data: String,

        /// Seconds to go on trying while the daemon is not there, not ready, or does not reach the attestor
        #[arg(long, value_name = "SECONDS", default_value_t = 0, global = true, value_parser = clap::value_parser!(u64).range(..=86_400))]
        wait: u64,

        /// Seconds to wait for an answer; longer than the daemon's `--keyprovider-patience`
        #[arg(long, value_name = "SECONDS", default_value_t = KeyProviderSettings::ANSWER, global = true, value_parser = answer())]
        patience: u64,
    },

    /// Look at everything that a round takes and say what is wrong and what to do; change nothing. The exit
    /// code is that of the first thing that keeps this host from attesting
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Believe the CA of a join token, and ask at its address, with the name and keys that this host has: for a host
    /// that was away while the attestor's CA was exchanged
    ///
    /// A host that is there takes up a new CA by itself. The token comes from an operator, so that nothing is
    /// believed for having answered; its secret is not used. A daemon is to be stopped before, and started after.
    Trust {
        /// File with a join token that an operator made since; keep it at mode 0600
        #[arg(long, value_name = "FILE", env = "TOUCHSTONE_JOIN_TOKEN")]
        join_token: PathBuf,
    },

    /// Write a man page for each command into a folder
    Man {
        /// The folder; it is made if it is not there
        folder: PathBuf,
    },

    /// Take encrypted images off this host that lie decrypted in the runtimes that are named, with what runs of them,
    /// and tell the attestor; the daemon does it by itself when the verdict turns
    ///
    /// It is every image with a layer whose manifest has the annotation of Touchstone's key provider. Exit code 1:
    /// something is left, or could not be asked.
    Purge {
        /// Change nothing: show what would go
        #[arg(long)]
        dry_run: bool,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Show the enrolment and the last outcome, without asking TPM or attestor
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// What is done with a secret.
#[derive(Debug, Subcommand)]
pub(crate) enum Transit {
    /// The secret on standard input, at most 64 KiB; a line `vault:vN:…` on standard output, to be kept anywhere
    Encrypt {
        /// Name of the attestor's key
        key: KeyName,

        /// Encrypt an empty secret too, which otherwise is an error: what was to write it may have failed
        #[arg(long)]
        allow_empty: bool,
    },

    /// What `encrypt` gave on standard input; the secret on standard output, as it was
    Decrypt {
        /// Name of the attestor's key
        key: KeyName,
    },
}

impl Command {
    /// Whether it goes on until it is told to stop, and so is to say in its log what it does.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(
            self,
            Self::Run { check: false, .. } | Self::Attest { once: false, .. }
        )
    }
}

/// At least a second.
fn answer() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=KeyProviderSettings::ANSWER_MAX)
}

/// At least a second, at most a day.
fn interval() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=86_400)
}
