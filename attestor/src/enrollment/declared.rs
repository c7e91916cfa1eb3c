//! What operators declare before a machine can enrol: whose TPMs, and who may ask.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::wire::JoinToken;

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::random::{self, NoRandomness};
use crate::store::{InventoryEntry, StoreError};

/// Most EKs that one TPM has.
const EKS_MAX: usize = 16;
/// Longest life of a join token, seconds: a week.
const JOIN_TOKEN_SECONDS_MAX: i64 = 7 * 24 * 3600;

/// Why a declaration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeclarationError {
    #[error("a machine has 1 to {EKS_MAX} endorsement keys, not {0}")]
    EkCount(usize),
    #[error(
        "the inventory has a machine called `{0}`, or one with the same endorsement key, already"
    )]
    InInventory(String),
    #[error("a join token lives 1 to {JOIN_TOKEN_SECONDS_MAX} seconds, not {0}")]
    Lifetime(i64),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeclarationError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::EkCount(_) => "ek-count",
            Self::InInventory(_) => "already-in-inventory",
            Self::Lifetime(_) => "join-token-lifetime",
            Self::Randomness(_) | Self::Store(_) => "internal",
        }
    }
}

/// Adds a machine to the inventory.
pub(crate) async fn add_machine(
    attestor: &Attestor,
    mut entry: InventoryEntry,
) -> Result<InventoryEntry, DeclarationError> {
    entry.ek_digests.sort_unstable();
    entry.ek_digests.dedup();
    if !(1..=EKS_MAX).contains(&entry.ek_digests.len()) {
        return Err(DeclarationError::EkCount(entry.ek_digests.len()));
    }
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    if !tx.add_inventory(&entry, now).await? {
        return Err(DeclarationError::InInventory(entry.host.to_string()));
    }
    let event = Event::InventoryAdded {
        host: entry.host.clone(),
        ek_digests: entry.ek_digests.clone(),
    };
    Entry::new(&event, Actor::Operator, now)?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    Ok(entry)
}

/// A new join token; its secret is kept only as a hash.
pub(crate) struct JoinTokenMade {
    pub(crate) token: JoinToken,
    pub(crate) expires_at: i64,
}

/// Makes a join token that lives `lifetime` seconds.
pub(crate) async fn create_join_token(
    attestor: &Attestor,
    lifetime: i64,
) -> Result<JoinTokenMade, DeclarationError> {
    if !(1..=JOIN_TOKEN_SECONDS_MAX).contains(&lifetime) {
        return Err(DeclarationError::Lifetime(lifetime));
    }
    let now = clock::now();
    let expires_at = now.saturating_add(lifetime);
    let secret = hex::encode(random::bytes::<32>()?);
    let mut tx = attestor.store.write().await?;
    tx.add_join_token(&Sha256Digest::of(secret.as_bytes()), expires_at)
        .await?;
    Entry::new(
        &Event::JoinTokenCreated { expires_at },
        Actor::Operator,
        now,
    )?
    .append(&mut tx)
    .await?;
    tx.commit().await?;
    let token = JoinToken {
        server: attestor.keys.server_url.clone(),
        ca: attestor.keys.ca_pem.clone(),
        secret,
    };
    Ok(JoinTokenMade { token, expires_at })
}
