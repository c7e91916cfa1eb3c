//! The key provider: what container runtimes on this host ask for the keys of encrypted layers (ocicrypt).
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
mod socket;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::settings::KeyProviderSettings;
use desk::Desk;

pub use ask::ask;
pub use lease::NotTheLease;
pub use refusal::{Refusal, Waiting};
pub(crate) use release::Releases;

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
        if let Some(path) = &settings.socket {
            match socket::listen(path).await {
                Ok(socket) => {
                    tracing::info!("the key provider listens on `{}`", path.display());
                    served.spawn(grpc::serve(socket, desk.clone()));
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "no encrypted image can be opened on this host");
                }
            }
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

impl Drop for KeyProvider {
    fn drop(&mut self) {
        self.desk.close();
    }
}
