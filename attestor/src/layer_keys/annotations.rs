//! Layers' cipher options, wrapped under a key as an image's annotation, and opened again.

use touchstone_evidence::annotation::{Annotation, Binding, KeyName, Opened, layer_of};
use touchstone_evidence::digest::Sha256Digest;

use super::versions::{KeyBytes, no_version, unwrap, usable_version, version_of};
use super::{LayerKeyError, known, malformed, usable};
use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event};
use crate::clock;
use crate::random;
use crate::store::LayerKeyRecord;

/// Wraps the cipher options of a layer under the current version of a key.
pub(crate) async fn wrap(
    attestor: &Attestor,
    actor: &Actor,
    name: KeyName,
    options: &[u8],
) -> Result<Annotation, LayerKeyError> {
    let layer = layer_of(options)?;
    loop {
        let nonce = random::bytes()?;
        let (key, bytes) = current(attestor, &name).await?;
        let binding = Binding {
            key: key.name,
            key_version: key.version,
            layer,
            policy: key.policy,
        };
        let sealed = Annotation::seal(binding, options, &bytes, nonce)?;
        let json = sealed.to_json().map_err(|_| malformed())?;
        let bound = sealed.untrusted_binding();
        let event = Event::LayerWrapped {
            key: bound.key.clone(),
            version: bound.key_version,
            layer,
            policy: bound.policy.clone(),
            annotation: Sha256Digest::of(&json),
        };
        let mut tx = attestor.store.write().await?;
        if usable(known(&mut tx, name.clone()).await?)?.version != key.version {
            // It was rotated meanwhile.
            continue;
        }
        audit::append(&mut tx, &event, actor, clock::now()).await?;
        tx.commit().await?;
        return Ok(sealed);
    }
}

/// The current version of a key that may be used, and its bytes.
async fn current(
    attestor: &Attestor,
    name: &KeyName,
) -> Result<(LayerKeyRecord, KeyBytes), LayerKeyError> {
    let mut tx = attestor.store.read().await?;
    let key = known(&mut tx, name.clone()).await?;
    let (key, wrapped) = version_of(&mut tx, key.name, key.version).await?;
    drop(tx);
    let bytes = unwrap(&attestor.keys.master, &key, key.version, &wrapped).await?;
    Ok((key, bytes))
}

/// Opens an annotation under the version of the key that it names, which must be active: the key, and a layer's cipher
/// options with what they were bound to. Whether a host may have them is for the host half of that policy to say, and
/// for the register of images where the key is `registered`.
///
/// The key is as it was at one moment while this ran.
pub(crate) async fn open(
    attestor: &Attestor,
    annotation: &[u8],
) -> Result<(LayerKeyRecord, Opened), LayerKeyError> {
    let annotation = Annotation::parse(annotation)?;
    let named = annotation.untrusted_binding();
    let found = attestor.store.key_version(&named.key, named.key_version);
    let Some(found) = found.await? else {
        let mut tx = attestor.store.read().await?;
        return Err(no_version(&mut tx, named.key.clone(), named.key_version).await);
    };
    let master = &attestor.keys.master;
    let (key, wrapped) = usable_version(found)?;
    let version = annotation.untrusted_binding().key_version;
    let bytes = unwrap(master, &key, version, &wrapped).await?;
    let opened = annotation.open(&bytes)?;
    // The key's policy never changes; what says otherwise is not of this database.
    if opened.binding().policy != key.policy {
        let (key, policy) = (key.name, key.policy);
        return Err(LayerKeyError::PolicyOther { key, policy });
    }
    Ok((key, opened))
}
