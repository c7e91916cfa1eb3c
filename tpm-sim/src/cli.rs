//! The command line of `tpm-sim`, as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use touchstone_tpm_sim::profile::{LifeCycle, Profile};

const AFTER: &str = "\
Start here:
  tpm-sim demo                 three simulated hosts, one attestor, one table: who may run the pod
  tpm-sim demo --swap          the same with two boots exchanged: fails and says which cell differs
  tpm-sim fleet --hosts 10     ten hosts with their agents, and a table of their tiers until Ctrl-C
  tpm-sim demo --keep          leave everything running and print what to try next
  tpm-sim demo --encrypted     go on with encrypted images, which open on the right host alone (root)
  tpm-sim demo --kubernetes    six nodes of a cluster, and which pods land on them
  tpm-sim break                tell an attestor every lie that a host can tell
  tpm-sim demo-stop            end what --keep left running

The demo needs swtpm, and `touchstone` and `touchstone-agent` in the folder of this program
(`cargo build --workspace --bins`).";

const ON_AFTER: &str = "\
Examples:
  tpm-sim on operator touchstone key list
  tpm-sim on build 'skopeo list-tags docker://$REGISTRY/hello'
  tpm-sim on us-1 podman images
  tpm-sim on de-1 touchstone-agent check

The attestor is no machine of its own: `demo --keep` prints how it is stopped and started again.";

const FLEET_AFTER: &str = "\
Examples:
  tpm-sim fleet --hosts 20                      twenty hosts, and an attestor of their own
  tpm-sim fleet --hosts 5 --break 1             one of them boots with another kernel command line
  tpm-sim fleet --operator operator.json        with a running test attestor";

const BREAK_AFTER: &str = "\
Examples:
  tpm-sim break                                 every lie, to an attestor of its own
  tpm-sim break Q1 L                            lies about signatures, boot logs and runtime lists
  tpm-sim break --list                          what is there to tell
  tpm-sim break --policy > lies.yaml            the policy under which every lie shows
  tpm-sim break --operator operator.json        to a running test attestor
  tpm-sim break --cast DIR                      make the machines; says what another verifier must know
  tpm-sim break --cast DIR --join-token FILE    tell them to it";

/// Simulates container hosts with software TPMs, to develop and to show Touchstone without hardware
#[derive(Debug, Parser)]
#[command(name = "tpm-sim", version, after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Attest three simulated hosts and ask which of them may run a pod that must stay in Germany
    Demo(Demo),

    /// End every demo of this user that `demo --keep` left running
    DemoStop,

    /// Run a command as on a machine of a demo that `demo --encrypted --keep` left running
    On(On),

    /// Run a fleet of simulated hosts, each with its TPM and its agent, and show their tiers until Ctrl-C
    Fleet(Fleet),

    /// Tell a verifier the lies of the attack catalogue, and see that each is caught for its own reason
    Break(Break),

    /// Ask a running attestor's webhook whether the demo's pod may run on a node
    Review(Review),

    /// Recorded boots, and reference values made from them
    #[command(subcommand)]
    Profile(ProfileCommand),

    /// Write a man page for each command into a folder
    Man {
        /// The folder; it is made if it is not there
        folder: PathBuf,
    },

    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Three hosts boot recorded measured logs: de-1 (Germany) and us-1 (United States) a known-good one,
/// de-2 (Germany) one whose kernel command line was altered. They enrol with an attestor, are appraised,
/// get signed location tags; then reviews of a pod bound to each of them are sent to the attestor's
/// webhook. Exit code 1 if any answer is not the one that is due.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Demo {
    /// Exchange the boots of de-1 and de-2, and nothing else: the demo must notice and fail
    #[arg(long)]
    pub(crate) swap: bool,

    /// Go on with stages 3 and 4 of NIST IR 8320B: images are encrypted, and podman runs them on each host or is
    /// refused. Needs root, and the container tools of `make deps-encrypted`
    #[arg(long)]
    pub(crate) encrypted: bool,

    /// Six nodes instead of three, and pods that a scheduler places or that go round it. With `KUBEBUILDER_ASSETS` on a
    /// real API server, scheduler and controller-manager; without, by reviews of the shapes that API servers send
    #[arg(long, conflicts_with = "encrypted")]
    pub(crate) kubernetes: bool,

    /// Leave attestor and hosts running, attesting every 30 seconds (2 with `--encrypted`), until `tpm-sim demo-stop`
    #[arg(long)]
    pub(crate) keep: bool,

    /// Print the outcome as JSON on standard output; progress goes to standard error
    #[arg(long)]
    pub(crate) json: bool,

    /// This process is to own a demo that is kept: standard input is the way to whoever asked for it
    #[arg(long, hide = true, requires = "keep")]
    pub(crate) keeper: bool,
}

/// The machines are `operator`, `build` (which has a publisher's credential), `de-1`, `us-1` and `de-2` (hosts with
/// a podman and an agent of their own, which `touchstone-agent check`, `status`, `purge` and `transit` speak of). A shell runs the command, as with ssh: `$REGISTRY` is the demo's registry.
/// Exit code: the command's.
#[derive(Args, Debug)]
#[command(after_help = ON_AFTER)]
pub(crate) struct On {
    /// The machine
    pub(crate) machine: String,

    /// The command, in quotation marks where this shell should not read it first
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// Each host is a swtpm process that went through a recorded boot, and an agent that enrols and attests on. Its
/// attestor is started for it, with a policy that demands the known-good boot, unless one is named. Ctrl-C ends
/// everything. Exit code 0: then every host was of the tier that is due, affirming, or contraindicated if it was
/// broken; 1: not every one; 130: not every host had a verdict yet.
#[derive(Args, Debug)]
#[command(after_help = FLEET_AFTER)]
pub(crate) struct Fleet {
    /// How many hosts there are
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    hosts: u16,

    /// How many of them booted with an altered kernel command line
    #[arg(long = "break", value_name = "K", default_value_t = 0)]
    broken: u16,

    /// Seconds between rounds of a host
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) interval: u32,

    /// The operator's credential of a running attestor that is for testing only: a simulator's CA is imported and
    /// machines are added. It is not taken from the environment
    // A variable that was exported for other commands would choose where simulated machines go.
    #[arg(long, value_name = "FILE")]
    pub(crate) operator: Option<PathBuf>,

    /// Print each host's last verdict as JSON at the end, on standard output; the table goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

impl Fleet {
    pub(crate) fn hosts(&self) -> usize {
        self.hosts.into()
    }

    /// At most all.
    pub(crate) fn broken(&self) -> usize {
        self.broken.min(self.hosts).into()
    }
}

/// Seven simulated machines tell lies about quotes, boot logs, runtime lists, places and keys, between honest rounds. Without
/// options they are told to an attestor that is started for it. Exit code 1 if any answer is not the one
/// that is due.
#[derive(Args, Debug)]
#[command(name = "break", after_help = BREAK_AFTER)]
pub(crate) struct Break {
    /// Only lies whose id begins so: `Q`, `Q1`, `L3b`; without any, all
    pub(crate) ids: Vec<String>,

    /// List the lies and what must come back, without telling them
    #[arg(long)]
    pub(crate) list: bool,

    /// Print the policy under which every lie shows, for `touchstone policy apply`
    #[arg(long, conflicts_with_all = ["ids", "list", "operator", "cast"])]
    pub(crate) policy: bool,

    /// Tell them to a running attestor: the operator's credential of one that is for testing only, since a
    /// simulator's CA is imported and machines are added. It is not taken from the environment
    // A variable that was exported for other commands would choose whom lies are told to.
    #[arg(long, value_name = "FILE", conflicts_with = "join_token")]
    pub(crate) operator: Option<PathBuf>,

    /// Keep the machines in this folder; alone, make them and say what a verifier's operator has to do. Machines
    /// that enrolled in an earlier run are refused with other keys: make new ones for a second
    #[arg(long, value_name = "DIR")]
    pub(crate) cast: Option<PathBuf>,

    /// Tell them to the verifier that made this join token, and knows the machines of `--cast`
    #[arg(long, value_name = "FILE", requires = "cast")]
    pub(crate) join_token: Option<PathBuf>,

    /// A lie is caught by whatever code: for verifiers with other words
    #[arg(long)]
    pub(crate) any_code: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Sends what a Kubernetes API server would: the review of pod `payments/api`'s creation, then that of its
/// binding to the node. Exit code 0: admitted; 1: refused.
#[derive(Args, Debug)]
pub(crate) struct Review {
    /// The node, for example worker-de-1
    pub(crate) node: String,

    /// The operator's credential, which names the webhook
    #[arg(long, value_name = "FILE", env = "TOUCHSTONE_OPERATOR")]
    pub(crate) operator: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// List the recorded boots
    List,

    /// Print a ReferenceValues manifest of a recorded boot, to paste into a policy
    ///
    /// What was captured is `Pending` and counts for nothing until an officer has looked at it and
    /// made it `Active`.
    #[command(
        after_help = "Example:\n  tpm-sim profile reference shim_sb --life-cycle active >> policy.yaml"
    )]
    Reference {
        /// Name of the recorded boot, as `profile list` shows it
        #[arg(value_parser = profile)]
        profile: &'static Profile,

        /// Name of the manifest; by default one that fits the boot
        #[arg(long)]
        name: Option<String>,

        /// Where the values are in their life
        #[arg(long, value_enum, default_value_t = LifeCycleArgument::Pending)]
        life_cycle: LifeCycleArgument,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LifeCycleArgument {
    Pending,
    Active,
    Obsolete,
    Retired,
    Revoked,
}

impl From<LifeCycleArgument> for LifeCycle {
    fn from(argument: LifeCycleArgument) -> Self {
        match argument {
            LifeCycleArgument::Pending => Self::Pending,
            LifeCycleArgument::Active => Self::Active,
            LifeCycleArgument::Obsolete => Self::Obsolete,
            LifeCycleArgument::Retired => Self::Retired,
            LifeCycleArgument::Revoked => Self::Revoked,
        }
    }
}

fn profile(name: &str) -> Result<&'static Profile, String> {
    Profile::named(name).ok_or_else(|| {
        let names: Vec<_> = Profile::all().iter().map(|profile| profile.name).collect();
        format!("no such recorded boot; there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
