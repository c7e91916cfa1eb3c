//! Options on what the daemon serves: keys of encrypted images, and secrets.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use touchstone_agent::settings::KeyProviderSettings;

/// In the place of a socket.
const NOBODY: &str = "none";

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

/// At least a second.
fn patience() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=KeyProviderSettings::PATIENCE_MAX)
}
