//! Credentials: who beside hosts may call, in which role, and until when.

use touchstone_evidence::digest::Sha256Digest;
use zeroize::Zeroizing;

use crate::attestor::Attestor;
use crate::audit::{self, Actor, Event, Staff};
use crate::clock;
use crate::random::{self, NoRandomness};
use crate::role::{CredentialName, Role, Way};
use crate::store::{CredentialRecord, StoreError, Tx};

/// Longest life that can be named, seconds: ten years.
const LIFETIME_MAX: i64 = 3650 * 24 * 3600;

/// Why a credential was not made, or not taken back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("a credential lives 1 to {LIFETIME_MAX} seconds, not {0}")]
    Lifetime(i64),
    #[error(
        "the name `{}` or the key is that of another credential, and names are given once; choose another, \
         `touchstone credential list` shows them",
        .0.as_str()
    )]
    Taken(CredentialName),
    #[error(
        "no credential is called `{}`; `touchstone credential list` shows them",
        .0.as_str()
    )]
    Unknown(CredentialName),
    #[error(
        "`{}` is the last credential of an operator that is in force and does not expire; make another before it is \
         revoked, or nobody could ever hand one out again",
        .0.as_str()
    )]
    LastOperator(CredentialName),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CredentialError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Lifetime(_) => "credential-lifetime",
            Self::Taken(_) => "credential-taken",
            Self::Unknown(_) => "credential-unknown",
            Self::LastOperator(_) => "credential-last-operator",
            Self::Randomness(_) | Self::Store(_) => "internal",
        }
    }
}

/// A credential that is wanted.
pub(crate) struct Wanted {
    pub(crate) name: CredentialName,
    pub(crate) role: Role,
    /// Seconds; `None`: until it is revoked.
    pub(crate) lifetime: Option<i64>,
    /// SHA-256 of the SubjectPublicKeyInfo of a TLS client key; `None`: a token is to be made.
    pub(crate) tls_key: Option<Sha256Digest>,
}

/// A new credential. Of a token only the hash is kept.
pub(crate) struct Made {
    pub(crate) record: CredentialRecord,
    pub(crate) token: Option<Zeroizing<String>>,
}

/// A fresh bearer token: 32 random bytes in hexadecimal digits.
pub(crate) fn new_token() -> Result<Zeroizing<String>, NoRandomness> {
    Ok(Zeroizing::new(hex::encode(random::bytes::<32>()?)))
}

/// Keeps the first credential of a new database: that of the one who starts the attestor.
pub(crate) async fn begin(mut tx: Tx, token: &str) -> Result<(), CredentialError> {
    let now = clock::now();
    let record = CredentialRecord {
        key: Sha256Digest::of(token.as_bytes()),
        way: Way::Token,
        role: Role::Operator,
        name: CredentialName::of_first_start(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    };
    if !tx.add_credential(&record).await? {
        return Err(CredentialError::Taken(record.name));
    }
    audit::append(&mut tx, &created(&record), &Actor::Attestor, now).await?;
    Ok(tx.commit().await?)
}

/// Makes a credential.
pub(crate) async fn create(
    attestor: &Attestor,
    actor: &Actor,
    wanted: Wanted,
) -> Result<Made, CredentialError> {
    let valid = |lifetime: &i64| (1..=LIFETIME_MAX).contains(lifetime);
    if let Some(lifetime) = wanted.lifetime.filter(|lifetime| !valid(lifetime)) {
        return Err(CredentialError::Lifetime(lifetime));
    }
    let now = clock::now();
    let (key, way, token) = match wanted.tls_key {
        Some(key) => (key, Way::TlsKey, None),
        None => {
            let token = new_token()?;
            let hash = Sha256Digest::of(token.as_bytes());
            (hash, Way::Token, Some(token))
        }
    };
    let record = CredentialRecord {
        key,
        way,
        role: wanted.role,
        name: wanted.name,
        created_at: now,
        expires_at: wanted.lifetime.map(|lifetime| now.saturating_add(lifetime)),
        revoked_at: None,
    };
    let mut tx = attestor.store.write().await?;
    // A host's key is the host's: it must not be two callers.
    let is_hosts = tx.host_by_tls_key(&key).await?.is_some() || tx.end_of(&key).await?.is_some();
    if is_hosts || !tx.add_credential(&record).await? {
        return Err(CredentialError::Taken(record.name));
    }
    audit::append(&mut tx, &created(&record), actor, now).await?;
    tx.commit().await?;
    Ok(Made { record, token })
}

/// The event that tells of a new credential.
fn created(record: &CredentialRecord) -> Event {
    Event::CredentialCreated {
        name: record.name.clone(),
        role: record.role,
        way: record.way,
        key: record.key,
        expires_at: record.expires_at,
    }
}

/// Takes a credential back, at once; one that was taken back before stays as it is. The last one that can hand out
/// others stays in force.
pub(crate) async fn revoke(
    attestor: &Attestor,
    actor: &Actor,
    name: CredentialName,
) -> Result<CredentialRecord, CredentialError> {
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    let all = tx.credentials().await?;
    let Some(record) = all.iter().find(|record| record.name == name) else {
        return Err(CredentialError::Unknown(name));
    };
    if record.revoked_at.is_some() {
        return Ok(record.clone());
    }
    let stays = |other: &CredentialRecord| {
        other.role == Role::Operator && other.revoked_at.is_none() && other.expires_at.is_none()
    };
    let others = all.iter().filter(|other| other.name != name);
    if stays(record) && !others.into_iter().any(stays) {
        return Err(CredentialError::LastOperator(name));
    }
    tx.revoke_credential(&record.key, now).await?;
    let (name, key) = (record.name.clone(), record.key);
    let event = Event::CredentialRevoked { name, key };
    audit::append(&mut tx, &event, actor, now).await?;
    tx.commit().await?;
    Ok(CredentialRecord {
        revoked_at: Some(now),
        ..record.clone()
    })
}

/// Who shows what has this digest, if it is a credential in force.
pub(crate) async fn holder(
    tx: &mut Tx,
    key: &Sha256Digest,
    way: Way,
) -> Result<Option<Staff>, StoreError> {
    let record = tx.credential(key).await?;
    let record = record.filter(|record| record.way == way && record.in_force(clock::now()));
    Ok(record.map(|CredentialRecord { name, role, .. }| Staff { name, role }))
}
