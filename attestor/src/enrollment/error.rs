//! Why a machine was not enrolled.

use touchstone_evidence::credential::CredentialError;
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::endorsement::EndorsementError;
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::tpm::reader::TpmFormatError;
use touchstone_evidence::tpm::template::KeyTemplateError;

use super::platforms::PlatformRefusal;
use crate::appraisal::RoundError;
use crate::random::NoRandomness;
use crate::store::StoreError;

/// Why a machine was not enrolled. No text holds a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolmentError {
    #[error("the {0} is malformed: {1}")]
    Malformed(&'static str, TpmFormatError),
    #[error("a key is not of the template that is demanded: {0}")]
    Template(#[from] KeyTemplateError),
    #[error("the endorsement is refused: {0}")]
    Endorsement(#[from] EndorsementError),
    #[error(
        "no machine of the inventory has the endorsement key {0}; it waits for an operator's `touchstone host \
         approve {0} --host NAME`, and enrols by itself after that"
    )]
    NotInInventory(Sha256Digest),
    #[error(
        "this attestor runs in production, where the program that simulates this TPM has no place"
    )]
    Simulator,
    #[error(
        "{1}; the endorsement key {0} waits for an operator's `touchstone host approve {0} --host NAME`"
    )]
    Platform(Sha256Digest, PlatformRefusal),
    #[error("an operator said that the endorsement key {0} is none of ours")]
    Rejected(Sha256Digest),
    #[error(
        "`{0}` is out of service; `touchstone host replace` or `touchstone inventory remove` changes that"
    )]
    Retired(HostId),
    #[error(
        "`{0}` is enrolled with other keys; an operator lets it in with `touchstone host reenrol {0}`"
    )]
    AlreadyEnrolled(HostId),
    #[error("the attestation key is that of another host; enrol with `--again` to make a new one")]
    AkInUse,
    #[error("the TLS key is that of another host; enrol with `--again` to make a new one")]
    TlsKeyInUse,
    #[error(
        "a key was enrolled before, and an identity begins with new ones; enrol with `--again` to make them"
    )]
    KeyUsedBefore,
    #[error(
        "the join token is for the machine `{0}` alone, which this one is not; ask for another one"
    )]
    TokenOfOtherHost(HostId),
    #[error("the join token was revoked, or expired, since it was shown; ask for another one")]
    TokenOver,
    #[error("the join token was used as often as it may be; ask for another one")]
    TokenUsedUp,
    #[error("no such enrolment is under way; begin again")]
    EnrolmentUnknown,
    #[error("the secret is not the one that the credential holds; begin again")]
    ActivationFailed,
    #[error("the activation came over another TLS key than the enrolment; begin again")]
    OtherTlsKey,
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Challenge(#[from] RoundError),
}

impl EnrolmentError {
    /// Whether the attestor failed, and the caller was refused nothing.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Randomness(_) | Self::Store(_) | Self::Challenge(_)
        )
    }

    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(..) => "key-malformed",
            Self::Template(_) => "key-template-mismatch",
            Self::Endorsement(error) => error.code(),
            Self::NotInInventory(_) => "ek-not-in-inventory",
            Self::Simulator => "simulator-tpm-refused",
            Self::Platform(_, refusal) => refusal.code(),
            Self::Rejected(_) => "ek-rejected",
            Self::Retired(_) => "host-retired",
            Self::AlreadyEnrolled(_) => "host-enrolled-with-other-keys",
            Self::AkInUse => "ak-in-use",
            Self::TlsKeyInUse => "tls-key-in-use",
            Self::KeyUsedBefore => "key-used-before",
            Self::TokenOfOtherHost(_) => "join-token-of-other-host",
            Self::TokenOver => "join-token-over",
            Self::TokenUsedUp => "join-token-used-up",
            Self::EnrolmentUnknown => "enrolment-unknown",
            Self::ActivationFailed => "activation-failed",
            Self::OtherTlsKey => "activation-over-other-tls-key",
            Self::Credential(_) => "credential-not-possible",
            Self::Randomness(_) | Self::Store(_) | Self::Challenge(_) => "internal",
        }
    }
}
