//! Why a key of encrypted layers was not made, changed or used.

use touchstone_evidence::annotation::{AnnotationError, KeyName, PolicyName};
use touchstone_evidence::data_key::DataKeyError;
use touchstone_evidence::oci_digest::OciDigest;

use super::master::MasterKeyError;
use crate::random::NoRandomness;
use crate::store::{KeyState, LayerKeyRecord, StoreError};

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerKeyError {
    #[error("no key is called `{0}`; `touchstone key list` shows them")]
    Unknown(KeyName),
    #[error("a key is called `{0}`, and names are given once; choose another, or rotate it")]
    Taken(KeyName),
    #[error(
        "a key was called `{0}` and is destroyed, and names are given once; choose another name"
    )]
    TakenForEver(KeyName),
    #[error("no WorkloadPolicy is called `{0}`; apply it first, or mend the name")]
    PolicyUnknown(PolicyName),
    #[error("the key `{key}` is for the policy `{policy}`, and stays with it; make another key")]
    PolicyOther { key: KeyName, policy: PolicyName },
    #[error("the key `{0}` is new, so say with `--policy` which WorkloadPolicy its layers are for")]
    PolicyMissing(KeyName),
    #[error("the key `{0}` is disabled; an operator enables it with `touchstone key enable {0}`")]
    Disabled(KeyName),
    #[error(
        "the key `{0}` was destroyed: what was encrypted with it cannot be read any more; encrypt the original anew, with a \
         key that an operator makes with `touchstone key create`"
    )]
    Destroyed(KeyName),
    #[error("the key `{key}` has no version {version}: what names it is of another attestor")]
    VersionUnknown { key: KeyName, version: u32 },
    #[error(
        "there is no such import key: it was used, has expired after an hour, or never was; make one with `touchstone \
         key import-key`"
    )]
    ImportKeyUnknown,
    #[error(
        "what was sent are no 32 bytes encrypted to the import key with RSA-OAEP (SHA-256, no label); its one use is \
         over, make another"
    )]
    ImportMalformed,
    #[error(
        "the key `{0}` opens layers of registered images alone, and the host named no manifest; with podman name it as \
         `--decryption-key provider:touchstone:node@sha256:…`, with the digest that `touchstone image list` shows an operator"
    )]
    ManifestMissing(KeyName),
    #[error(
        "the key `{key}` opens layers of registered images alone, and `{manifest}` is not registered with this layer; \
         register it with `touchstone image register`"
    )]
    Unregistered { key: KeyName, manifest: OciDigest },
    #[error(
        "the key `{0}` is for layers of registered images alone; an operator makes another for secrets with `touchstone \
         key create`"
    )]
    ImagesAlone(KeyName),
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    #[error(transparent)]
    DataKey(#[from] DataKeyError),
    #[error(transparent)]
    Master(MasterKeyError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LayerKeyError {
    /// Why a key in this state is not used.
    pub(crate) fn inactive(key: KeyName, state: KeyState) -> Self {
        match state {
            KeyState::Destroyed => Self::Destroyed(key),
            KeyState::Disabled | KeyState::Active => Self::Disabled(key),
        }
    }

    /// Why a name is not given to a new key: this one has it.
    pub(super) fn taken(by: LayerKeyRecord) -> Self {
        match by.state {
            KeyState::Destroyed => Self::TakenForEver(by.name),
            KeyState::Disabled | KeyState::Active => Self::Taken(by.name),
        }
    }

    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "layer-key-unknown",
            Self::Taken(_) | Self::TakenForEver(_) => "layer-key-taken",
            Self::PolicyUnknown(_) => "layer-key-policy-unknown",
            Self::PolicyOther { .. } => "layer-key-policy-other",
            Self::PolicyMissing(_) => "layer-key-policy-missing",
            Self::Disabled(_) => "layer-key-disabled",
            Self::Destroyed(_) => "layer-key-destroyed",
            Self::VersionUnknown { .. } => "layer-key-version-unknown",
            Self::ImportKeyUnknown => "import-key-unknown",
            Self::ImportMalformed => "import-malformed",
            Self::ManifestMissing(_) => "manifest-missing",
            Self::Unregistered { .. } => "image-unregistered",
            Self::ImagesAlone(_) => "layer-key-images-alone",
            Self::Annotation(error) => error.code(),
            Self::DataKey(error) => error.code(),
            Self::Master(MasterKeyError::Other { .. }) => "master-key-other",
            Self::Master(MasterKeyError::Away(_)) => "master-key-away",
            Self::Master(MasterKeyError::Busy) => "busy",
            Self::Master(_) | Self::Randomness(_) | Self::Store(_) => "internal",
        }
    }
}

impl From<MasterKeyError> for LayerKeyError {
    fn from(error: MasterKeyError) -> Self {
        match error {
            MasterKeyError::Store(error) => Self::Store(error),
            error => Self::Master(error),
        }
    }
}
