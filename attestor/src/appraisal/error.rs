//! Why a round was refused.

use touchstone_evidence::quote::NotAuthentic;

use crate::random::NoRandomness;
use crate::result_keys::ResultKeyError;
use crate::store::{End, StoreError};

/// Why a round was refused. None of these changes what is held about the host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoundError {
    #[error("no such challenge was given to this host; ask for a new one")]
    ChallengeUnknown,
    #[error("the challenge has expired; ask for a new one")]
    ChallengeExpired,
    #[error("the challenge was answered with other evidence before; ask for a new one")]
    ChallengeReplayed,
    #[error("the whole boot log is needed; send it with the evidence")]
    BootLogRequired,
    #[error("the evidence proves nothing: {0}")]
    NotAuthentic(#[from] NotAuthentic),
    #[error("the quote is not newer than the last accepted one")]
    NotNewer,
    #[error("the identity that says so has ended: {}", .0.code())]
    Ended(End),
    #[error("other rounds of this host were accepted meanwhile; ask for a new challenge")]
    Overtaken,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    ResultKey(#[from] ResultKeyError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the work was cut off")]
    Cancelled,
    #[error("more is asked of the attestor than it gets done; ask again in a while")]
    Busy,
}

impl RoundError {
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::ChallengeUnknown => "challenge-unknown",
            Self::ChallengeExpired => "challenge-expired",
            Self::ChallengeReplayed => "challenge-replayed",
            Self::BootLogRequired => "boot-log-required",
            Self::NotAuthentic(error) => error.code(),
            Self::NotNewer => "quote-not-newer",
            Self::Ended(end) => end.code(),
            Self::Overtaken => "round-overtaken",
            Self::ResultKey(error) => error.code(),
            Self::Busy => "busy",
            Self::Store(_) | Self::Randomness(_) | Self::Cancelled => "internal",
        }
    }
}
