//! Believing another CA of the attestor on an operator's word, for a host that was away while it was exchanged.

use touchstone_evidence::wire::JoinToken;

use crate::attest::Error;
use crate::authority;
use crate::client::Client;
use crate::identity::Identity;
use crate::settings::Settings;
use crate::state::State;

/// Takes CA and address out of `token` into the identity, whose name and keys stay. Nothing is sent. Returns the
/// SHA-256 of the DER of each CA certificate that is believed from now on.
///
/// # Errors
/// [`Error::NotEnrolled`]; [`Error::State`] if an agent is at work; [`Error::Authority`] or [`Error::Client`] if
/// what the token holds cannot be used.
pub fn trust(settings: &Settings, token: &JoinToken) -> Result<String, Error> {
    let state = State::open(&settings.state)?;
    let identity = state.records().identity()?.ok_or(Error::NotEnrolled)?;
    let identity = Identity {
        server: token.server.clone(),
        ca: authority::bundle(token.ca.as_bytes())?,
        ..identity
    };
    let client = Client::new(&identity.server, &identity.ca, &identity.keys.tls)?;
    state.replace_identity(&identity)?;
    Ok(client.believed().to_owned())
}
