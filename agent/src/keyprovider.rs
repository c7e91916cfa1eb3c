//! The key provider: what container runtimes on this host ask for the keys of encrypted layers (ocicrypt), and beside it
//! what asks for secrets ([`transit`](crate::transit)).
//!
//! Each call is a round of evidence of its own, and the key that comes of it was sealed to this TPM and this boot.
//! Invariant: nothing is kept of a key, and nobody but root and the agent's user is answered.

pub mod ask;
mod content_store;
mod desk;
mod grpc;
mod lease;
mod refusal;
mod release;
pub(crate) mod socket;

use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::settings::KeyProviderSettings;
use crate::transit;
use socket::Socket;

pub use ask::ask;
pub(crate) use desk::Desk;
pub(crate) use grpc::EXIT_CODE;
pub use lease::NotTheLease;
pub use refusal::{Refusal, Waiting};
pub(crate) use release::{Question, Releases, Seen};

/// The service of a daemon; it ends with this value.
pub(crate) struct KeyProvider {
    desk: Arc<Desk>,
    _served: JoinSet<()>,
}

impl KeyProvider {
    /// Serves, if the settings name a socket. Callers are told to wait until [`KeyProvider::open`]. A socket that
    /// cannot be had is no reason to be silent towards the attestor.
    pub(crate) async fn serve(settings: &KeyProviderSettings) -> Self {
        let desk = Arc::new(Desk::new(settings));
        let mut served = JoinSet::new();
        let (path, lost) = (
            &settings.socket,
            "no encrypted image can be opened on this host",
        );
        if let Some(socket) = listen(path.as_deref(), "--keyprovider", lost).await {
            tracing::info!("the key provider listens on {socket}");
            served.spawn(grpc::serve(socket, desk.clone()));
        }
        let (path, lost) = (&settings.transit, "no secret can be read on this host");
        if let Some(socket) = listen(path.as_deref(), "--transit", lost).await {
            tracing::info!("secrets are encrypted and decrypted on {socket}");
            served.spawn(transit::serve(socket, desk.clone()));
        }
        Self {
            desk,
            _served: served,
        }
    }

    /// From now on keys are asked for.
    pub(crate) fn open(&self, releases: Releases) {
        self.desk.open(releases);
    }
}

/// The socket that a setting names, if it does; `lost` says what there is not without it.
async fn listen(path: Option<&Path>, setting: &'static str, lost: &str) -> Option<Socket> {
    match socket::listen(path?, setting).await {
        Ok(socket) => Some(socket),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "{lost}");
            None
        }
    }
}

impl Drop for KeyProvider {
    fn drop(&mut self) {
        self.desk.close();
    }
}
