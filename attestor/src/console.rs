//! The operator's and auditor's commands. They talk HTTP, and open no database.

mod answers;
mod audit;
mod client;
mod commands;
mod credential_file;
mod credentials;
mod endorsement;
mod explain;
mod firmware;
mod image;
mod inspect;
mod keyprovider;
mod keys;
mod layer_keys;
mod leases;
mod location;
mod log_key;
mod machines;
mod man;
mod node;
mod output;
mod policy;
mod progress;
mod reference;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use touchstone_evidence::endorsement::ManufacturerId;
use touchstone_evidence::host_id::HostId;

pub use credential_file::{CredentialFile, Shown};
pub use credentials::Credential;
pub use image::Image;
pub use inspect::Inspect;
pub use keyprovider::KeyProvider;
pub use keys::{Exchanged, Keys};
pub use layer_keys::Key;
pub use leases::Lease;
pub use location::{Authority, Location};
pub use machines::{Inventory, JoinToken, Service};
pub use node::Node;
pub use policy::Policy;
pub use reference::Reference;
pub use workload::Workload;

use crate::settings::Settings;

/// Touchstone decides which container hosts can be trusted, on evidence rooted in their TPM.
///
/// `touchstone serve` runs the attestor, and `touchstone kubernetes` serves a cluster apart beside it. `inspect`, `audit verify`, `policy check`, `policy schema`, `man` and `completions` ask nobody: they need
/// no server and no credential. Every other command asks a running attestor, with the operator's
/// credential that its first start wrote, or one of another role.
#[derive(Parser, Debug)]
#[command(name = "touchstone", version, propagate_version = true)]
pub struct Arguments {
    /// Whom to ask, and how to answer.
    #[command(flatten)]
    pub target: Target,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Whom to ask, and how to answer.
#[derive(Args, Debug)]
pub struct Target {
    /// The credential to show: the operator's, as the attestor's first start wrote it, or one that `touchstone
    /// credential create` made
    #[arg(
        long,
        visible_alias = "credential",
        global = true,
        env = "TOUCHSTONE_OPERATOR",
        default_value = "/var/lib/touchstone/operator.json"
    )]
    pub operator: PathBuf,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the attestor
    Serve(Settings),
    /// Serve one Kubernetes cluster apart, beside `touchstone serve` and on its PostgreSQL database
    ///
    /// It answers that cluster's webhooks and scheduler and the agents of hosts there, and writes its nodes' labels and
    /// taints. It answers no operator: ask `touchstone serve`. The settings are those of `touchstone serve`; the cluster's
    /// file must give it a name of its own (`cluster = "NAME"`).
    ///
    /// It needs no operator's credential, and its data folder must hold none: --operator and --json are of no use here. What
    /// it needs: the keys that docs/operators/clusters.md lists, copied out of the folder of `touchstone serve`; user and
    /// password of the database, in --database; and a kubeconfig in the cluster's file, or the service account of its pod.
    #[command(mut_arg("kubernetes", |argument| argument.required(true)))]
    Kubernetes(Settings),
    /// TPM manufacturers' certificates: which TPMs are genuine
    #[command(subcommand)]
    Endorsement(Endorsement),
    /// Machines and their endorsement keys: which TPMs are ours
    #[command(subcommand)]
    Inventory(Inventory),
    /// Tokens with which new machines enrol
    #[command(subcommand)]
    JoinToken(JoinToken),
    /// Where machines stand, in the signed word of an authority
    #[command(subcommand)]
    Location(Location),
    /// Policy manifests
    #[command(subcommand)]
    Policy(Policy),
    /// Who may call: operators, officers, auditors, relying parties, publishers
    #[command(subcommand)]
    Credential(Credential),
    /// Known-good values, captured from a host's proven boot
    #[command(subcommand)]
    Reference(Reference),
    /// Keys of encrypted container layers
    #[command(subcommand)]
    Key(Key),
    /// What hosts were given keys of encrypted layers for
    #[command(subcommand)]
    Lease(Lease),
    /// Images that were registered, by the digests of their manifests
    #[command(subcommand)]
    Image(Image),
    /// Wrap the keys of layers for skopeo, podman and buildah, which are to run this (ocicrypt's key provider)
    ///
    /// One message on standard input gets one answer on standard output, or with --socket any number over gRPC. The
    /// credential is that of a publisher. Name a key as `--encryption-key provider:touchstone:KEY`.
    #[command(name = "keyprovider")]
    KeyProvider(KeyProvider),
    /// Kubernetes nodes and the hosts behind them
    #[command(subcommand)]
    Node(Node),
    /// Enrolled hosts and their verdicts
    #[command(subcommand)]
    Host(Host),
    /// What workloads of Kubernetes were made of, and from which host to which their pods went
    #[command(subcommand)]
    Workload(Workload),
    /// The audit log
    #[command(subcommand)]
    Audit(Audit),
    /// Look into a piece of evidence, as the attestor would. Needs no server and no credential
    #[command(subcommand)]
    Inspect(Inspect),
    /// List the public keys that verify results and checkpoints, or exchange one
    Keys {
        /// What to do with one
        #[command(subcommand)]
        command: Option<Keys>,
    },
    /// Write a man page for each command into a folder
    Man {
        /// The folder; it is made if it is not there
        folder: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

/// `touchstone endorsement …`
#[derive(Subcommand, Debug)]
pub enum Endorsement {
    /// Import certificates and revocation lists, all or none: self-signed certificates become roots,
    /// others intermediates
    Import {
        /// What roots vouch for; needed unless there are revocation lists only. `simulator` never counts
        /// as hardware
        #[arg(long, value_parser = ["manufacturer", "cloud", "simulator"])]
        class: Option<String>,
        /// TPM manufacturers that the roots may vouch for, as in EK certificates, e.g. id:494E5443; any by
        /// default
        #[arg(long = "manufacturer", value_name = "ID", value_delimiter = ',')]
        manufacturers: Vec<ManufacturerId>,
        /// PEM bundles (`CERTIFICATE`, `X509 CRL`), or DER certificates and revocation lists
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List roots with the hosts enrolled under them, intermediates and revocation lists
    List,
    /// List machines that asked to enrol and whose maker's CA is not known: the latest 256
    ///
    /// The CA's name is unproven: it stands in a certificate that leads nowhere, and whoever asked could write it.
    Unmatched,
}

/// `touchstone host …`
#[derive(Subcommand, Debug)]
pub enum Host {
    /// List hosts: place, tier and why
    List,
    /// Show one host with every finding
    Show {
        /// The host
        host: HostId,
    },
    /// Say in plain words why a host stands where it stands, and what to do next
    Explain {
        /// The host
        host: HostId,
    },
    /// Print the last signed result of a host, verified
    Result {
        /// The host
        host: HostId,
    },
    /// Accept that the firmware of a host's TPM changed; until then its rounds are contraindicated
    #[command(disable_version_flag = true)]
    AcceptFirmware {
        /// The host
        host: HostId,
        /// The version, `0x…`; without it, the one that its last verdict names
        #[arg(long = "version", value_name = "HEX")]
        firmware: Option<firmware::Version>,
    },
    /// What becomes of its identity
    #[command(flatten)]
    Service(Service),
}

/// `touchstone audit …`
#[derive(Subcommand, Debug)]
pub enum Audit {
    /// Fetch the whole log with its signed checkpoint
    Export {
        /// File to write it to; without it, standard output
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Verify an exported log. Needs no server and no credential
    #[command(after_help = audit::VERIFY_EXIT_CODES)]
    Verify {
        /// The exported file
        file: PathBuf,
        /// The log's key, as `touchstone keys` printed it when you last trusted the server, or a file
        /// that holds it. Without it the key in the file is believed, which shows only that the file
        /// agrees with itself
        #[arg(long)]
        key: Option<String>,
        /// A head that you kept, as `SIZE:ROOT` or a file with a checkpoint or an attestor's file `head`: the log must still begin with
        /// it. May be given several times
        #[arg(long = "head")]
        heads: Vec<String>,
    },
    /// Print the signed head of the log
    Checkpoint,
}

/// Runs any command but `serve` and `kubernetes`. Exit code 1: what was asked about does not verify.
pub async fn run(command: Command, target: &Target) -> anyhow::Result<ExitCode> {
    commands::run(command, target).await
}
