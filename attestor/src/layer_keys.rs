//! Keys of encrypted layers: named, versioned, each for one `WorkloadPolicy`, and encrypted under the master key.
//!
//! Not decided here: whether a host may read a layer. [`open`] gives whoever decides what an annotation was bound to.

mod data_keys;
mod error;
mod imports;
mod master;

use touchstone_evidence::annotation::{Annotation, Binding, KeyName, Opened, PolicyName, layer_of};
use touchstone_evidence::digest::Sha256Digest;
use zeroize::Zeroizing;

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event, Reason};
use crate::clock;
use crate::random::{self, NoRandomness};
use crate::store::{
    KeyState, LayerKeyRecord, Origin, Store, StoreError, Tx, Wrapped, WrappedVersion,
};

pub(crate) use data_keys::{make_data_key, open_data_key};
pub(crate) use error::LayerKeyError;
pub(crate) use imports::{Imported, import, make_import_key};
pub(crate) use master::{MasterKey, MasterKeyError, MasterKeyPlaces};

use master::purpose_of_version;

/// 32 bytes under which layers' keys are wrapped. They stay where they are, so that no copy is left when they move.
type KeyBytes = Box<Zeroizing<[u8; 32]>>;

/// A key that is wanted.
pub(crate) struct Wanted {
    pub(crate) name: KeyName,
    /// The `WorkloadPolicy` whose host half decides who may read.
    pub(crate) policy: PolicyName,
    /// Whether only layers of registered images are released.
    pub(crate) registered: bool,
}

/// Makes a key with its first version.
pub(crate) async fn create(
    attestor: &Attestor,
    actor: &Actor,
    wanted: Wanted,
) -> Result<LayerKeyRecord, LayerKeyError> {
    let bytes = fresh()?;
    let first = wrapped_version(attestor, &wanted.name, 1, &bytes).await?;
    let mut tx = attestor.store.write().await?;
    let made = begin(attestor, &mut tx, actor, wanted).await?;
    let made = add_version(attestor, &mut tx, made, &first, Origin::Made).await?;
    tx.commit().await?;
    Ok(made)
}

fn fresh() -> Result<KeyBytes, NoRandomness> {
    let mut bytes = KeyBytes::default();
    random::fill(&mut bytes[..])?;
    Ok(bytes)
}

/// Encrypts a version under the master key: before the transaction that keeps it, since a token may take its time.
async fn wrapped_version(
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
async fn next_version(attestor: &Attestor, name: &KeyName) -> Result<u32, LayerKeyError> {
    let key = attestor.store.read().await?.layer_key(name).await?;
    Ok(key.map_or(0, |key| key.version).saturating_add(1))
}

/// A new key, which has no version yet.
async fn begin(
    attestor: &Attestor,
    tx: &mut Tx,
    actor: &Actor,
    wanted: Wanted,
) -> Result<LayerKeyRecord, LayerKeyError> {
    let policies = attestor.index.policies();
    if !policies.workloads.contains_key(wanted.policy.as_str()) {
        return Err(LayerKeyError::PolicyUnknown(wanted.policy));
    }
    let now = clock::now();
    let made = LayerKeyRecord {
        name: wanted.name,
        policy: wanted.policy,
        registered: wanted.registered,
        state: KeyState::Active,
        version: 0,
        created_at: now,
        destroyed_at: None,
    };
    if !tx.add_layer_key(&made).await? {
        return Err(LayerKeyError::taken(known(tx, made.name).await?));
    }
    let event = Event::LayerKeyCreated {
        key: made.name.clone(),
        policy: made.policy.clone(),
        registered: made.registered,
    };
    audit::append(tx, &event, actor, now).await?;
    Ok(made)
}

/// Keeps the next version of a key, which wraps from now on.
async fn add_version(
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

/// Makes the next version of a key; the ones before still open what they sealed.
pub(crate) async fn rotate(
    attestor: &Attestor,
    actor: &Actor,
    name: KeyName,
    reason: Option<Reason>,
) -> Result<LayerKeyRecord, LayerKeyError> {
    let bytes = fresh()?;
    loop {
        let version = next_version(attestor, &name).await?;
        let next = wrapped_version(attestor, &name, version, &bytes).await?;
        let mut tx = attestor.store.write().await?;
        let key = usable(known(&mut tx, name.clone()).await?)?;
        if key.version.saturating_add(1) != version {
            // Somebody else made that version meanwhile.
            continue;
        }
        let key = add_version(attestor, &mut tx, key, &next, Origin::Made).await?;
        let event = Event::LayerKeyRotated {
            key: key.name.clone(),
            version,
            reason,
        };
        audit::append(&mut tx, &event, actor, clock::now()).await?;
        tx.commit().await?;
        return Ok(key);
    }
}

/// Lets a key be used for nothing until it is enabled, or for everything again. Once more changes nothing. Meanwhile its
/// leases are revoked.
pub(crate) async fn set_enabled(
    attestor: &Attestor,
    actor: &Actor,
    name: KeyName,
    enabled: bool,
    reason: Option<Reason>,
) -> Result<LayerKeyRecord, LayerKeyError> {
    let mut tx = attestor.store.write().await?;
    let key = known(&mut tx, name).await?;
    let state = match enabled {
        true => KeyState::Active,
        false => KeyState::Disabled,
    };
    if key.state == KeyState::Destroyed {
        return Err(LayerKeyError::Destroyed(key.name));
    }
    if key.state == state {
        return Ok(key);
    }
    tx.set_key_state(&key.name, state).await?;
    let name = key.name.clone();
    let event = match enabled {
        true => Event::LayerKeyEnabled { key: name, reason },
        false => Event::LayerKeyDisabled { key: name, reason },
    };
    audit::append(&mut tx, &event, actor, clock::now()).await?;
    tx.commit().await?;
    tell_hosts(&attestor.store).await?;
    Ok(LayerKeyRecord { state, ..key })
}

/// Has every host with a lease of a key that is not active look with its next round what it is to purge: some hosts at a
/// time, so that rounds get their turn in between. What broke off is done by the next one.
pub(crate) async fn tell_hosts(store: &Store) -> Result<(), StoreError> {
    loop {
        let mut tx = store.write().await?;
        let more = tx.mark_leases_of_inactive_keys().await?;
        tx.commit().await?;
        if !more {
            return Ok(());
        }
    }
}

/// Deletes the bytes of every version of a key: nothing that they sealed is ever opened again.
pub(crate) async fn destroy(
    attestor: &Attestor,
    actor: &Actor,
    name: KeyName,
    reason: Option<Reason>,
) -> Result<LayerKeyRecord, LayerKeyError> {
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    let key = known(&mut tx, name).await?;
    if key.state == KeyState::Destroyed {
        return Ok(key);
    }
    attestor.store.overwrite_deleted(&mut tx).await?;
    tx.destroy_layer_key(&key.name, now).await?;
    let event = Event::LayerKeyDestroyed {
        key: key.name.clone(),
        versions: key.version,
        reason,
    };
    audit::append(&mut tx, &event, actor, now).await?;
    tx.commit().await?;
    attestor.store.scrub().await;
    tell_hosts(&attestor.store).await?;
    Ok(LayerKeyRecord {
        state: KeyState::Destroyed,
        destroyed_at: Some(now),
        ..key
    })
}

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

/// Within the transaction that rests on what a key opened before: that the key may still be used.
pub(crate) async fn still_usable(tx: &mut Tx, name: &KeyName) -> Result<(), LayerKeyError> {
    usable(known(tx, name.clone()).await?).map(drop)
}

async fn known(tx: &mut Tx, name: KeyName) -> Result<LayerKeyRecord, LayerKeyError> {
    let key = tx.layer_key(&name).await?;
    key.ok_or(LayerKeyError::Unknown(name))
}

/// The key, if it may be used.
fn usable(key: LayerKeyRecord) -> Result<LayerKeyRecord, LayerKeyError> {
    match key.state {
        KeyState::Active => Ok(key),
        state => Err(LayerKeyError::inactive(key.name, state)),
    }
}

/// A version of a key that may be used.
async fn version_of(
    tx: &mut Tx,
    name: KeyName,
    version: u32,
) -> Result<(LayerKeyRecord, Wrapped), LayerKeyError> {
    match tx.key_version(&name, version).await? {
        Some(found) => usable_version(found),
        None => Err(no_version(tx, name, version).await),
    }
}

fn usable_version(
    (key, wrapped): (LayerKeyRecord, Option<Wrapped>),
) -> Result<(LayerKeyRecord, Wrapped), LayerKeyError> {
    let key = usable(key)?;
    Ok((key, wrapped.ok_or_else(malformed)?))
}

/// Why there is no such version.
async fn no_version(tx: &mut Tx, name: KeyName, version: u32) -> LayerKeyError {
    match known(tx, name).await {
        Ok(LayerKeyRecord { name: key, .. }) => LayerKeyError::VersionUnknown { key, version },
        Err(error) => error,
    }
}

async fn unwrap(
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

fn malformed() -> LayerKeyError {
    crate::store::StoreError::Malformed("layer key").into()
}
