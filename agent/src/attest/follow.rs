//! Following the attestor's CA: what it says over a connection that the kept CA authenticated is kept in its place.
//!
//! Invariant: nothing is believed on first use, and no CA is kept that the attestor does not answer under.

use touchstone_evidence::digest::Sha256Digest;

use super::{Agent, Error};
use crate::authority;
use crate::client::Client;
use crate::identity::Identity;

impl Agent {
    /// Takes up the CA certificates whose digest the attestor told, where they are not those that are kept. What
    /// goes wrong is told, and tried again after the next round.
    pub(super) async fn follow(&mut self, told: Option<Sha256Digest>) {
        let Some(told) = told.filter(|told| *told != self.client().ca_digest()) else {
            return;
        };
        match self.take_up(told).await {
            Ok(()) => tracing::info!(
                "the attestor's CA changes: believed from now on is {}",
                self.client().believed()
            ),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    "the attestor's CA changes, and this host could not take that up; it tries again after the \
                     next round"
                );
            }
        }
    }

    async fn take_up(&mut self, told: Sha256Digest) -> Result<(), Error> {
        let ca = authority::bundle(&self.client().ca().await?)?;
        // Behind a balancer another attestor may have answered, which has not been given the next CA yet.
        if Sha256Digest::of(ca.as_bytes()) != told {
            return Err(Error::OtherBundle);
        }
        let identity = Identity {
            ca,
            ..self.identity.clone()
        };
        let client = Client::new(&identity.server, &identity.ca, &identity.keys.tls)?;
        // Before the old one is given up.
        client.readiness().await?;
        self.state.replace_identity(&identity)?;
        self.identity = identity;
        self.client.send_replace(client);
        Ok(())
    }
}
