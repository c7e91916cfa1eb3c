//! The command line, as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use touchstone_agent::purge::{Containerd, Podman};
use touchstone_agent::settings::KeyProviderSettings;
use touchstone_agent::{Runtimes, Settings, Trouble};
use touchstone_evidence::annotation::KeyName;

/// In the place of a socket.
const NOBODY: &str = "none";

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

#[derive(Debug, Args)]
#[command(next_help_heading = "This host")]
pub(crate) struct SettingsArguments {
    /// Folder for keys and state; created with mode 0700. The agent refuses files that others can read
    #[arg(long, value_name = "DIR", env = "TOUCHSTONE_STATE", default_value = Settings::STATE, global = true)]
    state: PathBuf,

    /// The TPM: `device:/dev/tpmrm0`, `tabrmd`, or `swtpm:host=127.0.0.1,port=2321`
    #[arg(long, env = "TOUCHSTONE_TCTI", default_value = Settings::TCTI, global = true)]
    tcti: String,

    /// The firmware's event log
    #[arg(long, value_name = "FILE", env = "TOUCHSTONE_BOOT_LOG", default_value = Settings::BOOT_LOG, global = true)]
    boot_log: PathBuf,

    /// The kernel's runtime measurement list (IMA), binary form; without the file the host says that it has none
    #[arg(long, value_name = "FILE", env = "TOUCHSTONE_IMA_LIST", default_value = Settings::IMA_LIST, global = true)]
    ima_list: PathBuf,

    /// The kernel's boot id, a UUID
    #[arg(long, value_name = "FILE", env = "TOUCHSTONE_BOOT_ID", default_value = Settings::BOOT_ID, global = true)]
    boot_id: PathBuf,

    /// In a pod: the token of its service account, projected for the attestor's audience. It shows which node of the
    /// cluster this host is
    #[arg(
        long,
        value_name = "FILE",
        env = "TOUCHSTONE_NODE_TOKEN",
        global = true
    )]
    node_token: Option<PathBuf>,
}

impl SettingsArguments {
    pub(crate) fn resolve(self) -> Settings {
        Settings {
            state: self.state,
            tcti: self.tcti,
            boot_log: self.boot_log,
            ima_list: self.ima_list,
            boot_id: self.boot_id,
            node_token: self.node_token,
            ..Settings::default()
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Encrypted images and secrets")]
pub(crate) struct KeyProviderArguments {
    /// Serve keys of encrypted images to container runtimes on this unix socket, for root alone; `none`: serve nobody
    #[arg(long, value_name = "SOCKET", env = "TOUCHSTONE_KEYPROVIDER", default_value = KeyProviderSettings::SOCKET)]
    keyprovider: PathBuf,

    /// Encrypt and decrypt secrets on this unix socket, as Vault's transit engine does, for root alone; `none`: for nobody
    #[arg(long, value_name = "SOCKET", env = "TOUCHSTONE_TRANSIT", default_value = KeyProviderSettings::TRANSIT)]
    transit: PathBuf,

    /// Seconds that one key may take in all, the wait for its turn and for the attestor included
    #[arg(long, value_name = "SECONDS", env = "TOUCHSTONE_KEYPROVIDER_PATIENCE", default_value_t = KeyProviderSettings::PATIENCE, value_parser = patience())]
    keyprovider_patience: u64,

    /// Blobs of containerd's content store, where the manifest of a layer is looked up
    #[arg(long, value_name = "DIR", env = "TOUCHSTONE_CONTENT_STORE", default_value = KeyProviderSettings::CONTENT_STORE)]
    content_store: PathBuf,
}

impl KeyProviderArguments {
    pub(crate) fn resolve(self) -> KeyProviderSettings {
        let named = |socket: PathBuf| (socket.as_os_str() != NOBODY).then_some(socket);
        KeyProviderSettings {
            socket: named(self.keyprovider),
            transit: named(self.transit),
            content_store: self.content_store,
            patience: Duration::from_secs(self.keyprovider_patience),
        }
    }
}

#[derive(Debug, Args)]
#[command(
    next_help_heading = "What is purged when the verdict turns (nothing that is not named here)"
)]
pub(crate) struct RuntimeArguments {
    /// The socket of a containerd, `/run/containerd/containerd.sock`; what reaches it has root's rights on this host
    #[arg(
        long,
        value_name = "SOCKET",
        env = "TOUCHSTONE_CONTAINERD",
        global = true
    )]
    containerd: Option<PathBuf>,

    /// A namespace of it, `k8s.io` or `default`; repeatable, or several with commas; without it, all
    #[arg(
        long,
        value_name = "NAME",
        env = "TOUCHSTONE_CONTAINERD_NAMESPACES",
        value_delimiter = ',',
        requires = "containerd",
        global = true
    )]
    containerd_namespace: Vec<String>,

    /// Where podman keeps images, `/var/lib/containers/storage`
    #[arg(
        long,
        value_name = "DIR",
        env = "TOUCHSTONE_PODMAN_ROOT",
        global = true
    )]
    podman_root: Option<PathBuf>,

    /// Where it keeps what a boot does not outlive
    #[arg(long, value_name = "DIR", env = "TOUCHSTONE_PODMAN_RUNROOT", default_value = Podman::RUNROOT, global = true)]
    podman_runroot: PathBuf,

    /// The program
    #[arg(long, value_name = "FILE", env = "TOUCHSTONE_PODMAN", default_value = Podman::PROGRAM, global = true)]
    podman: PathBuf,
}

impl RuntimeArguments {
    pub(crate) fn resolve(self) -> Runtimes {
        let (program, runroot) = (self.podman, self.podman_runroot);
        Runtimes {
            containerd: self.containerd.map(|socket| Containerd {
                socket,
                namespaces: self.containerd_namespace,
            }),
            podman: self.podman_root.map(|root| Podman {
                program,
                root,
                runroot,
            }),
        }
    }
}

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
fn patience() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=KeyProviderSettings::PATIENCE_MAX)
}

/// At least a second.
fn answer() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=KeyProviderSettings::ANSWER_MAX)
}

/// At least a second, at most a day.
fn interval() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

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
