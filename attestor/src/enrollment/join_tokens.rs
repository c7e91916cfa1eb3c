//! Join tokens: who may ask to be enrolled, for how long, how often, and as whom.

use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::wire::JoinToken;

use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::random::{self, NoRandomness};
use crate::store::{JoinTokenRecord, StoreError};

/// Longest life of a join token, seconds: a week.
const LIFETIME_MAX: i64 = 7 * 24 * 3600;
/// Most uses that can be named.
const USES_MAX: i64 = 1_000_000;
/// Fewest digits by which a token is named when it is revoked.
const ID_MIN: usize = 8;

/// Why a join token was not made, or not revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinTokenError {
    #[error("a join token lives 1 to {LIFETIME_MAX} seconds, not {0}")]
    Lifetime(i64),
    #[error("a join token is good for 1 to {USES_MAX} uses, not {0}")]
    Uses(i64),
    #[error(
        "no join token, or more than one, begins with `{0}`; `touchstone join-token list` shows them"
    )]
    Unknown(String),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl JoinTokenError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Lifetime(_) => "join-token-lifetime",
            Self::Uses(_) => "join-token-uses",
            Self::Unknown(_) => "join-token-unknown",
            Self::Randomness(_) | Self::Store(_) => "internal",
        }
    }
}

/// What a token is to be good for.
pub(crate) struct JoinTokenRequest {
    /// Seconds.
    pub(crate) lifetime: i64,
    /// The only machine that may enrol with it.
    pub(crate) host: Option<HostId>,
    /// Enrolments.
    pub(crate) uses: Option<i64>,
}

/// A new join token; only its hash is kept.
pub(crate) struct JoinTokenMade {
    pub(crate) token: JoinToken,
    pub(crate) record: JoinTokenRecord,
}

/// Makes a join token.
pub(crate) async fn create_join_token(
    attestor: &Attestor,
    actor: &Actor,
    request: JoinTokenRequest,
) -> Result<JoinTokenMade, JoinTokenError> {
    if !(1..=LIFETIME_MAX).contains(&request.lifetime) {
        return Err(JoinTokenError::Lifetime(request.lifetime));
    }
    if let Some(uses) = request.uses.filter(|uses| !(1..=USES_MAX).contains(uses)) {
        return Err(JoinTokenError::Uses(uses));
    }
    let now = clock::now();
    let secret = hex::encode(random::bytes::<32>()?);
    let record = JoinTokenRecord {
        hash: Sha256Digest::of(secret.as_bytes()),
        expires_at: now.saturating_add(request.lifetime),
        host: request.host,
        uses_max: request.uses,
        uses: 0,
        revoked_at: None,
    };
    let mut tx = attestor.store.write().await?;
    tx.add_join_token(&record, now).await?;
    let event = Event::JoinTokenCreated {
        token: record.id(),
        expires_at: record.expires_at,
        host: record.host.clone(),
        uses: record.uses_max,
    };
    Entry::new(&event, actor, now)?.append(&mut tx).await?;
    tx.commit().await?;
    let token = JoinToken {
        server: attestor.keys.server_url.clone(),
        ca: attestor.keys.ca.bundle().pem.clone(),
        secret,
    };
    Ok(JoinTokenMade { token, record })
}

/// Revokes the one token whose id begins with `id`, at once: an enrolment under way with it ends too.
pub(crate) async fn revoke_join_token(
    attestor: &Attestor,
    actor: &Actor,
    id: &str,
) -> Result<JoinTokenRecord, JoinTokenError> {
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    let tokens = tx.join_tokens().await?;
    let mut matching = tokens
        .into_iter()
        .filter(|token| id.len() >= ID_MIN && token.id().starts_with(id));
    let (Some(token), None) = (matching.next(), matching.next()) else {
        return Err(JoinTokenError::Unknown(shown(id)));
    };
    tx.revoke_join_token(&token.hash, now).await?;
    Entry::new(&Event::JoinTokenRevoked { token: token.id() }, actor, now)?
        .append(&mut tx)
        .await?;
    tx.commit().await?;
    Ok(JoinTokenRecord {
        revoked_at: token.revoked_at.or(Some(now)),
        ..token
    })
}

fn shown(id: &str) -> String {
    id.chars()
        .take(40)
        .collect::<String>()
        .escape_debug()
        .to_string()
}
