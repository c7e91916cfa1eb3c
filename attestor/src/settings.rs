//! The settings of the server, as arguments and environment say them, and what of them cannot be.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use rustls::pki_types::ServerName;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_kubernetes::config::Config;

use crate::duty::Duty;
use crate::operator_file;

/// What `touchstone serve` and `touchstone kubernetes` are told.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Folder of keys, operator credential and embedded database; made with mode 0700
    #[arg(long, env = "TOUCHSTONE_DATA", default_value = "/var/lib/touchstone")]
    pub data: PathBuf,
    /// Address to listen on; port 0 takes any free one
    #[arg(long, env = "TOUCHSTONE_LISTEN", default_value = "127.0.0.1:8443")]
    pub listen: SocketAddr,
    /// Database: `sqlite:FILE` or `postgres://…`; by default `touchstone.db` in the data folder
    #[arg(long, env = "TOUCHSTONE_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// DNS name or IP address under which agents reach this server; the first one goes into join
    /// tokens. By default the address that it listens on
    #[arg(long = "name", env = "TOUCHSTONE_NAMES", value_delimiter = ',')]
    pub names: Vec<String>,
    /// TLS client key that may call the webhook: SHA-256 of its SubjectPublicKeyInfo, hexadecimal
    #[arg(
        long = "webhook-caller",
        env = "TOUCHSTONE_WEBHOOK_CALLERS",
        value_delimiter = ','
    )]
    pub webhook_callers: Vec<Sha256Digest>,
    /// File with credentials for registries, as `skopeo login` writes it: shown to a registry that asks for one, where
    /// manifests, signatures and tags of images are read that a WorkloadPolicy demands something of
    #[arg(long, env = "TOUCHSTONE_REGISTRY_CREDENTIALS")]
    pub registry_credentials: Option<PathBuf>,
    /// Registry on this machine that is asked without TLS, `HOST:PORT`
    #[arg(
        long = "plain-http-registry",
        env = "TOUCHSTONE_PLAIN_HTTP_REGISTRIES",
        value_delimiter = ','
    )]
    pub plain_http_registries: Vec<String>,
    /// Master key, under which keys of encrypted layers are kept: a file of mode 0600 with 64 hexadecimal digits, or
    /// `pkcs11:token=…;object=…?module-path=…&pin-source=FILE`, a key in a token. By default `master.key` in the data
    /// folder, where it is made
    #[arg(long, env = "TOUCHSTONE_MASTER_KEY")]
    pub master_key: Option<PathBuf>,
    /// The master key before this one, file or token: what was kept under it is taken over at the start
    #[arg(long, env = "TOUCHSTONE_PREVIOUS_MASTER_KEY")]
    pub previous_master_key: Option<PathBuf>,
    /// The Kubernetes cluster whose nodes are marked and whose pods are watched: a TOML file, see
    /// docs/operators/kubernetes.md. Without it, `touchstone serve` answers webhooks alone, for whoever calls
    #[arg(long, env = "TOUCHSTONE_KUBERNETES")]
    pub kubernetes: Option<PathBuf>,
    /// Refuse simulators: no import of their roots, and no database that ever held one
    #[arg(long, env = "TOUCHSTONE_PRODUCTION")]
    pub production: bool,
    /// Log as JSON lines
    #[arg(long, env = "TOUCHSTONE_LOG_JSON")]
    pub log_json: bool,
}

impl Settings {
    /// Refuses what a duty cannot be done with, before anything is touched.
    pub(crate) fn check_duty(&self, duty: Duty) -> anyhow::Result<()> {
        if duty == Duty::Attestor {
            return Ok(());
        }
        anyhow::ensure!(
            self.kubernetes.is_some(),
            "`touchstone kubernetes` serves a cluster; say which with --kubernetes FILE"
        );
        let database = self.database.as_deref().unwrap_or("sqlite:");
        anyhow::ensure!(
            !database.starts_with("sqlite:"),
            "`touchstone kubernetes` works beside `touchstone serve` on one database, and a file of SQLite has one process; \
             name that attestor's PostgreSQL with --database postgres://…, or give the one attestor the cluster: \
             `touchstone serve --kubernetes FILE`"
        );
        check_folder(&self.data)
    }

    /// Names go into certificates, join tokens and URLs.
    pub(crate) fn check_names(&self) -> anyhow::Result<()> {
        for name in &self.names {
            anyhow::ensure!(
                ServerName::try_from(name.as_str()).is_ok(),
                "`{name}` is neither a DNS name nor an IP address; give --name without scheme and port"
            );
        }
        anyhow::ensure!(
            !(self.names.is_empty() && self.listen.ip().is_unspecified()),
            "nobody can reach `{}` under that address; say with --name how agents reach this server",
            self.listen.ip()
        );
        Ok(())
    }

    /// What they say of the cluster.
    pub(crate) fn cluster(&self) -> anyhow::Result<Option<Config>> {
        let file = self.kubernetes.as_deref();
        Ok(file.map(Config::read).transpose()?)
    }
}

/// Without the head that was signed last it would begin the log anew, and no verdict from before would count.
fn check_folder(folder: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        folder.join("head").exists(),
        "`{}` holds no `head` of the audit log; copy the files that docs/operators/clusters.md lists out of the folder of \
         `touchstone serve`",
        folder.display()
    );
    let operator = folder.join(operator_file::FILE);
    anyhow::ensure!(
        !operator.exists(),
        "`{}` is the operator's credential, which a process for one cluster has no use for; take it away",
        operator.display()
    );
    Ok(())
}
