//! Data keys: made under the current version of a key, and opened again under the version that they name. Whether a host
//! may have one is not decided here.

use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::data_key::{Binding, DataKey, Opened, WrappedDataKey};
use zeroize::Zeroizing;

use super::versions::{KeyBytes, no_version, unwrap, usable_version, version_of};
use super::{LayerKeyError, known};
use crate::attestor::Attestor;
use crate::random;
use crate::store::{LayerKeyRecord, Wrapped};

/// A new data key under the current version of the key `name`.
pub(crate) async fn make_data_key(
    attestor: &Attestor,
    name: KeyName,
) -> Result<(WrappedDataKey, Opened), LayerKeyError> {
    let data_key = DataKey::new(Zeroizing::new(random::bytes()?));
    let nonce = random::bytes()?;
    let mut tx = attestor.store.read().await?;
    let key = known(&mut tx, name).await?;
    let version = key.version;
    let found = version_of(&mut tx, key.name, version).await?;
    drop(tx);
    let (key, bytes) = for_secrets(attestor, found, version).await?;
    let binding = Binding {
        key: key.name,
        key_version: version,
        id: data_key.id(),
        policy: key.policy,
    };
    let wrapped = WrappedDataKey::seal(binding, &data_key, &bytes, nonce)?;
    let opened = wrapped.open(&bytes)?;
    Ok((wrapped, opened))
}

/// Opens a wrapped data key under the version of the key that it names, which must be active.
///
/// The key is as it was at one moment while this ran.
pub(crate) async fn open_data_key(
    attestor: &Attestor,
    wrapped: &WrappedDataKey,
) -> Result<Opened, LayerKeyError> {
    let named = wrapped.untrusted_binding();
    let found = attestor.store.key_version(&named.key, named.key_version);
    let Some(found) = found.await? else {
        let mut tx = attestor.store.read().await?;
        return Err(no_version(&mut tx, named.key.clone(), named.key_version).await);
    };
    let found = usable_version(found)?;
    let (key, bytes) = for_secrets(attestor, found, named.key_version).await?;
    let opened = wrapped.open(&bytes)?;
    // The key's policy never changes; what says otherwise is not of this database.
    if opened.binding().policy != key.policy {
        let (key, policy) = (key.name, key.policy);
        return Err(LayerKeyError::PolicyOther { key, policy });
    }
    Ok(opened)
}

/// The bytes of a version, if its key is not for layers of registered images alone.
async fn for_secrets(
    attestor: &Attestor,
    (key, wrapped): (LayerKeyRecord, Wrapped),
    version: u32,
) -> Result<(LayerKeyRecord, KeyBytes), LayerKeyError> {
    if key.registered {
        return Err(LayerKeyError::ImagesAlone(key.name));
    }
    let bytes = unwrap(&attestor.keys.master, &key, version, &wrapped).await?;
    Ok((key, bytes))
}
