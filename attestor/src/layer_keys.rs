//! Keys of encrypted layers: named, versioned, each for one `WorkloadPolicy`, and encrypted under the master key.
//!
//! Not decided here: whether a host may read a layer. [`open`] gives whoever decides what an annotation was bound to.

mod annotations;
mod data_keys;
mod error;
mod imports;
mod master;
mod states;
mod versions;

use touchstone_evidence::annotation::{KeyName, PolicyName};

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event, Reason};
use crate::clock;
use crate::store::{KeyState, LayerKeyRecord, Origin, StoreError, Tx};

pub(crate) use annotations::{open, wrap};
pub(crate) use data_keys::{make_data_key, open_data_key};
pub(crate) use error::LayerKeyError;
pub(crate) use imports::{Imported, import, make_import_key};
pub(crate) use master::{MasterKey, MasterKeyError, MasterKeyPlaces};
pub(crate) use states::{destroy, set_enabled, tell_hosts};

use versions::{add_version, fresh, next_version, wrapped_version};

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

fn malformed() -> LayerKeyError {
    StoreError::Malformed("layer key").into()
}
