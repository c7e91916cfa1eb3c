//! Where the agent finds its state, its TPM and what the kernel says about this boot.

use std::path::PathBuf;
use std::time::Duration;

/// Everything that differs between a real host and a simulated one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder that the agent keeps its keys in; created with mode 0700.
    pub state: PathBuf,
    /// The TPM: a TCTI name and configuration, see [`Tpm::open`](crate::tpm::Tpm::open).
    pub tcti: String,
    /// The firmware's event log, as the kernel shows it.
    pub boot_log: PathBuf,
    /// The kernel's runtime measurement list (IMA), binary form.
    pub ima_list: PathBuf,
    /// The kernel's boot id, as UUID text.
    pub boot_id: PathBuf,
    /// The service account token of the pod that the agent runs in; `None`: it proves no node.
    pub node_token: Option<PathBuf>,
    /// The key provider that the daemon serves.
    pub keyprovider: KeyProviderSettings,
}

/// How container runtimes on this host ask for the keys of encrypted layers, and others for secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProviderSettings {
    /// The unix socket to serve on; `None`: nobody is served.
    pub socket: Option<PathBuf>,
    /// The unix socket where secrets are encrypted and decrypted; `None`: nowhere.
    pub transit: Option<PathBuf>,
    /// The blobs of containerd's content store, in which an annotation's manifest is looked up.
    pub content_store: PathBuf,
    /// How long one call may take in all.
    pub patience: Duration,
}

impl KeyProviderSettings {
    /// Where `touchstone-agent run` serves, and `touchstone-agent keyprovider` asks.
    pub const SOCKET: &str = "/run/touchstone-agent/keyprovider.sock";
    /// Where `touchstone-agent run` serves secrets, and `touchstone-agent transit` asks.
    pub const TRANSIT: &str = "/run/touchstone-agent/transit.sock";
    /// Default of [`KeyProviderSettings::content_store`].
    pub const CONTENT_STORE: &str =
        "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256";
    /// Default of [`KeyProviderSettings::patience`], in seconds.
    pub const PATIENCE: u64 = 60;
    /// The longest that can be set, in seconds.
    pub const PATIENCE_MAX: u64 = 600;
    /// For how long an answer is waited for at either socket, in seconds: a little longer than the daemon may take.
    pub const ANSWER: u64 = Self::PATIENCE + 10;
    /// The longest that can be set, in seconds.
    pub const ANSWER_MAX: u64 = Self::PATIENCE_MAX + 60;
}

impl Default for KeyProviderSettings {
    fn default() -> Self {
        Self {
            socket: None,
            transit: None,
            content_store: Self::CONTENT_STORE.into(),
            patience: Duration::from_secs(Self::PATIENCE),
        }
    }
}

impl Settings {
    /// Default of [`Settings::state`].
    pub const STATE: &str = "/var/lib/touchstone-agent";
    /// Default of [`Settings::tcti`]: the kernel's resource manager.
    pub const TCTI: &str = "device:/dev/tpmrm0";
    /// Default of [`Settings::boot_log`].
    pub const BOOT_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
    /// Default of [`Settings::ima_list`].
    pub const IMA_LIST: &str = "/sys/kernel/security/ima/binary_runtime_measurements";
    /// Default of [`Settings::boot_id`].
    pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state: Self::STATE.into(),
            tcti: Self::TCTI.to_owned(),
            boot_log: Self::BOOT_LOG.into(),
            ima_list: Self::IMA_LIST.into(),
            boot_id: Self::BOOT_ID.into(),
            node_token: None,
            keyprovider: KeyProviderSettings::default(),
        }
    }
}
