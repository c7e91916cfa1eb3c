//! Leases: what hosts were given keys for, who may be given which no more, and how a host comes to know.
//!
//! Which leases are revoked is worked out from the keys' states, the revocations and the identities that ended. A mark at
//! the host has its next round look; it stays until there is nothing more to tell.

mod giving;

use touchstone_evidence::annotation::KeyName;
use touchstone_evidence::host_id::HostId;

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event, Reason};
use crate::clock;
use crate::store::{After, KeptLease, Revocation, Store, StoreError, Tx};

pub(crate) use giving::{Giving, NotGiven, Wanted};

/// Leases in one page.
pub(crate) const PAGE: usize = 500;

/// Why nothing was revoked, or given back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("no host `{0}` is in the inventory; `touchstone inventory list` shows those that are")]
    HostUnknown(HostId),
    #[error("there is no key `{0}`; `touchstone key list` shows those that there are")]
    KeyUnknown(KeyName),
    #[error(
        "every key is revoked for host `{0}`; give all of them back with `touchstone lease restore --host {0}`, and then \
         revoke those that it may not have"
    )]
    EveryKey(HostId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LeaseError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::HostUnknown(_) => "host-unknown",
            Self::KeyUnknown(_) => "layer-key-unknown",
            Self::EveryKey(_) => "every-lease-revoked",
            Self::Store(_) => "internal",
        }
    }
}

/// Whose leases, and of which key; without a key, of all.
pub(crate) struct Of {
    pub(crate) host: HostId,
    pub(crate) key: Option<KeyName>,
}

/// What an act came to.
pub(crate) struct Done {
    /// Whether it was not so before.
    pub(crate) changed: bool,
    /// Leases that it is about: those that the host has not purged.
    pub(crate) leases: i64,
}

/// Gives a host a key no more, and has it purge what its leases opened. Once more changes nothing.
pub(crate) async fn revoke(
    attestor: &Attestor,
    actor: &Actor,
    Of { host, key }: Of,
    reason: Option<Reason>,
) -> Result<Done, LeaseError> {
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    known(&mut tx, &host, key.as_ref()).await?;
    let leases = tx.count_leases(&host, key.as_ref()).await?;
    let changed = tx.add_revocation(&host, key.as_ref(), now).await?;
    if changed {
        tx.mark_leases_to_tell(&host).await?;
        let event = Event::LeasesRevoked {
            host,
            key,
            leases,
            reason,
        };
        audit::append(&mut tx, &event, actor, now).await?;
        tx.commit().await?;
    }
    Ok(Done { changed, leases })
}

/// Lets a host have a key again; without a key, whichever were revoked for it. What it purged it has to pull anew.
pub(crate) async fn restore(
    attestor: &Attestor,
    actor: &Actor,
    Of { host, key }: Of,
    reason: Option<Reason>,
) -> Result<Done, LeaseError> {
    let mut tx = attestor.store.write().await?;
    known(&mut tx, &host, key.as_ref()).await?;
    let changed = tx.drop_revocations(&host, key.as_ref()).await?;
    let rest = tx.revocations(Some(&host)).await?;
    if rest.iter().any(|revocation| revocation.key.is_none()) {
        return Err(LeaseError::EveryKey(host));
    }
    let leases = tx.count_leases(&host, key.as_ref()).await?;
    if changed {
        let event = Event::LeasesRestored { host, key, reason };
        audit::append(&mut tx, &event, actor, clock::now()).await?;
        tx.commit().await?;
    }
    Ok(Done { changed, leases })
}

async fn known(tx: &mut Tx, host: &HostId, key: Option<&KeyName>) -> Result<(), LeaseError> {
    known_host(tx, host).await?;
    match key {
        Some(key) => known_key(tx, key).await,
        None => Ok(()),
    }
}

/// A machine that is out of service may come back.
async fn known_host(tx: &mut Tx, host: &HostId) -> Result<(), LeaseError> {
    match tx.machine_state(host).await? {
        Some(_) => Ok(()),
        None => Err(LeaseError::HostUnknown(host.clone())),
    }
}

async fn known_key(tx: &mut Tx, key: &KeyName) -> Result<(), LeaseError> {
    match tx.layer_key(key).await? {
        Some(_) => Ok(()),
        None => Err(LeaseError::KeyUnknown(key.clone())),
    }
}

/// Leases in order, and which hosts may not have which keys.
pub(crate) struct Page {
    pub(crate) leases: Vec<KeptLease>,
    /// Whether there are further ones.
    pub(crate) more: bool,
    pub(crate) revocations: Vec<Revocation>,
}

/// The leases after `after`: of a host, of a key, or all.
pub(crate) async fn page(
    store: &Store,
    host: Option<&HostId>,
    key: Option<&KeyName>,
    after: &After,
) -> Result<Page, LeaseError> {
    let mut tx = store.read().await?;
    let most = i64::try_from(PAGE).unwrap_or(i64::MAX).saturating_add(1);
    let mut leases = tx.leases(host, key, after, most).await?;
    let more = leases.len() > PAGE;
    leases.truncate(PAGE);
    if leases.is_empty() {
        // Nothing may be so, or a name was mistyped.
        if let Some(host) = host {
            known_host(&mut tx, host).await?;
        }
        if let Some(key) = key {
            known_key(&mut tx, key).await?;
        }
    }
    let mut revocations = tx.revocations(host).await?;
    revocations.retain(|one| key.is_none() || one.key.is_none() || one.key.as_ref() == key);
    Ok(Page {
        leases,
        more,
        revocations,
    })
}
