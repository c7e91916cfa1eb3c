//! Versions of a key: made, kept encrypted under the master key, and found and decrypted again.

use touchstone_evidence::annotation::KeyName;
use zeroize::Zeroizing;

use super::master::{MasterKey, purpose_of_version};
use super::{LayerKeyError, known, malformed, usable};
use crate::attestor::Attestor;
use crate::clock;
use crate::random::{self, NoRandomness};
use crate::store::{LayerKeyRecord, Origin, Tx, Wrapped, WrappedVersion};

/// 32 bytes under which layers' keys are wrapped. They stay where they are, so that no copy is left when they move.
pub(super) type KeyBytes = Box<Zeroizing<[u8; 32]>>;

pub(super) fn fresh() -> Result<KeyBytes, NoRandomness> {
    let mut bytes = KeyBytes::default();
    random::fill(&mut bytes[..])?;
    Ok(bytes)
}

/// Encrypts a version under the master key: before the transaction that keeps it, since a token may take its time.
pub(super) async fn wrapped_version(
    attestor: &Attestor,
    name: &KeyName,
    version: u32,
    bytes: &KeyBytes,
) -> Result<WrappedVersion, LayerKeyError> {
    let purpose = purpose_of_version(name.as_str(), version);
    Ok(WrappedVersion {
        name: name.clone(),
        version,
        wrapped: attestor.keys.master.wrap(&purpose, &bytes[..]).await?,
    })
}

/// The version that a key gets next, if nobody is faster.
pub(super) async fn next_version(
    attestor: &Attestor,
    name: &KeyName,
) -> Result<u32, LayerKeyError> {
    let key = attestor.store.read().await?.layer_key(name).await?;
    Ok(key.map_or(0, |key| key.version).saturating_add(1))
}

/// Keeps the next version of a key, which wraps from now on.
pub(super) async fn add_version(
    attestor: &Attestor,
    tx: &mut Tx,
    key: LayerKeyRecord,
    next: &WrappedVersion,
    origin: Origin,
) -> Result<LayerKeyRecord, LayerKeyError> {
    attestor.keys.master.agrees(tx).await?;
    tx.add_key_version(next, origin, clock::now()).await?;
    let version = next.version;
    Ok(LayerKeyRecord { version, ..key })
}

/// A version of a key that may be used.
pub(super) async fn version_of(
    tx: &mut Tx,
    name: KeyName,
    version: u32,
) -> Result<(LayerKeyRecord, Wrapped), LayerKeyError> {
    match tx.key_version(&name, version).await? {
        Some(found) => usable_version(found),
        None => Err(no_version(tx, name, version).await),
    }
}

pub(super) fn usable_version(
    (key, wrapped): (LayerKeyRecord, Option<Wrapped>),
) -> Result<(LayerKeyRecord, Wrapped), LayerKeyError> {
    let key = usable(key)?;
    Ok((key, wrapped.ok_or_else(malformed)?))
}

/// Why there is no such version.
pub(super) async fn no_version(tx: &mut Tx, name: KeyName, version: u32) -> LayerKeyError {
    match known(tx, name).await {
        Ok(LayerKeyRecord { name: key, .. }) => LayerKeyError::VersionUnknown { key, version },
        Err(error) => error,
    }
}

pub(super) async fn unwrap(
    master: &MasterKey,
    key: &LayerKeyRecord,
    version: u32,
    wrapped: &Wrapped,
) -> Result<KeyBytes, LayerKeyError> {
    let purpose = purpose_of_version(key.name.as_str(), version);
    let opened = master.open(&purpose, wrapped).await?;
    let mut bytes = KeyBytes::default();
    match opened.len() == bytes.len() {
        true => bytes.copy_from_slice(&opened),
        false => return Err(malformed()),
    }
    Ok(bytes)
}
