//! What is asked of the attestor for a secret: a new data key, or the one that it is encrypted under.

use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::data_key::{DataKey, WrappedDataKey};
use touchstone_evidence::wire::{
    DataKeyLease, DataKeyMade, DataKeyRequest, DataKeyWish, Evidence, Release,
};
use zeroize::Zeroizing;

use super::lease;
use crate::client::{self, Client};
use crate::keyprovider::{NotTheLease, Question, Refusal, Seen};
use crate::settings::Settings;

/// A data key that is to be made under this key of the attestor's.
pub(super) struct NewDataKey(pub(super) KeyName);

/// The data key of a secret that is there.
pub(super) struct HeldDataKey {
    pub(super) wrapped: WrappedDataKey,
    /// The JSON of it, as the secret has it.
    pub(super) json: Vec<u8>,
}

impl Question for NewDataKey {
    type Answer = DataKeyMade;
    type Granted = (WrappedDataKey, DataKeyLease);
    type Key = (WrappedDataKey, DataKey);

    fn request(&self, evidence: &Evidence) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&DataKeyWish {
            evidence: evidence.clone(),
            key: self.0.clone(),
        })
    }

    async fn send(&self, client: &Client, request: &[u8]) -> Result<DataKeyMade, client::Error> {
        client.make_data_key(request).await
    }

    fn check(
        &self,
        made: DataKeyMade,
        seen: &Seen<'_>,
    ) -> Result<(Self::Granted, Release), Refusal> {
        let wrapped = WrappedDataKey::parse(&made.wrapped);
        let wrapped = wrapped.map_err(|_| NotTheLease::Other("data key"))?;
        let binding = wrapped.untrusted_binding();
        if binding.key != self.0 {
            return Err(NotTheLease::Other("key").into());
        }
        let lease = lease::check(&made.release.lease, binding, seen)?;
        Ok(((wrapped, lease), made.release))
    }

    fn round_due(made: &DataKeyMade) -> bool {
        made.release.round_due
    }

    fn clock_end((_, lease): &Self::Granted) -> u64 {
        lease.clock_end
    }

    async fn key(
        &self,
        (wrapped, lease): Self::Granted,
        payload: Zeroizing<Vec<u8>>,
        _: &Settings,
    ) -> Result<Self::Key, Refusal> {
        Ok((wrapped, granted(&lease, &payload)?))
    }
}

impl Question for HeldDataKey {
    type Answer = Release;
    type Granted = DataKeyLease;
    type Key = DataKey;

    fn request(&self, evidence: &Evidence) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&DataKeyRequest {
            evidence: evidence.clone(),
            wrapped: self.json.clone().into(),
        })
    }

    async fn send(&self, client: &Client, request: &[u8]) -> Result<Release, client::Error> {
        client.open_data_key(request).await
    }

    fn check(&self, release: Release, seen: &Seen<'_>) -> Result<(DataKeyLease, Release), Refusal> {
        let binding = self.wrapped.untrusted_binding();
        Ok((lease::check(&release.lease, binding, seen)?, release))
    }

    fn round_due(release: &Release) -> bool {
        release.round_due
    }

    fn clock_end(lease: &DataKeyLease) -> u64 {
        lease.clock_end
    }

    async fn key(
        &self,
        lease: DataKeyLease,
        payload: Zeroizing<Vec<u8>>,
        _: &Settings,
    ) -> Result<DataKey, Refusal> {
        granted(&lease, &payload)
    }
}

/// The data key in a payload, which must be the lease's. The lease is not kept: what it opened is nowhere on this host.
fn granted(lease: &DataKeyLease, payload: &[u8]) -> Result<DataKey, Refusal> {
    DataKey::read(payload)
        .filter(|key| key.id() == lease.data_key)
        .ok_or(Refusal::OtherDataKey)
}
