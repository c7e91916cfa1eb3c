//! Options on the host: its TPM, its logs, and where state is kept.

use std::path::PathBuf;

use clap::Args;
use touchstone_agent::Settings;

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
