//! Telling the attestor what was purged, for its audit log.

use std::path::Path;

use tokio::task::spawn_blocking;
use touchstone_evidence::encoded::Few;
use touchstone_evidence::wire::{PURGED_MAX, Purge, REVOKED_MAX};

use super::Purged;
use crate::attest::Error;
use crate::client::Client;
use crate::state::Records;

/// Tells what there is to tell: what was found and is gone, what failed, and of which revoked leases nothing is left. A
/// running agent does not mind.
///
/// # Errors
/// [`Error::NotEnrolled`]; [`Error::Client`]. What was told before that is told.
pub async fn tell(state: &Path, purged: &[Purged]) -> Result<(), Error> {
    let messages: Vec<Purge> = purged.iter().flat_map(messages).collect();
    if messages.is_empty() {
        return Ok(());
    }
    let records = Records::at(state);
    let identity = spawn_blocking(move || records.identity()).await;
    // It is cut off where the agent ends.
    let Ok(identity) = identity else {
        return Ok(());
    };
    let identity = identity?.ok_or(Error::NotEnrolled)?;
    let client = Client::new(&identity.server, &identity.ca, &identity.keys.tls)?;
    for message in &messages {
        client.purged(message).await?;
    }
    Ok(())
}

fn messages(purged: &Purged) -> Vec<Purge> {
    if purged.is_nothing() {
        return Vec::new();
    }
    let images = purged.digests.chunks(PURGED_MAX);
    let leases = purged.leases.chunks(REVOKED_MAX);
    let count = images.len().max(leases.len()).max(1);
    let (mut images, mut leases) = (images, leases);
    let message = |_| Purge {
        runtime: purged.runtime,
        digests: Few(images.next().unwrap_or_default().to_vec()),
        complete: purged.is_complete(),
        leases: Few(leases.next().unwrap_or_default().to_vec()),
    };
    (0..count).map(message).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use touchstone_evidence::wire::ContainerRuntime;

    use super::*;

    #[test]
    fn what_failed_is_told_and_nothing_is_not() {
        let nothing = Purged::new(ContainerRuntime::Podman, "/r");
        assert!(messages(&nothing).is_empty());
        let told = messages(&nothing.clone().failed(&Error::NotEnrolled));
        assert!(told.len() == 1 && !told[0].complete);
        let digests = (0..=PURGED_MAX)
            .map(|n| super::super::manifest::digest(&[u8::try_from(n % 256).unwrap()]));
        let many = Purged {
            digests: digests.collect(),
            ..nothing
        };
        let told = messages(&many);
        assert_eq!(told[0].digests.0.len(), PURGED_MAX);
        assert!(told.len() == 2 && told.iter().all(|told| told.complete));
    }
}
