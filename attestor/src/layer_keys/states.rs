//! What is done to a key that is there: disabled, enabled, destroyed; and how its hosts hear of it.

use touchstone_evidence::annotation::KeyName;

use super::{LayerKeyError, known};
use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event, Reason};
use crate::clock;
use crate::store::{KeyState, LayerKeyRecord, Store, StoreError};

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
