//! Enrolment: a machine of the inventory proves that its TPM holds its keys.
//!
//! The EK certificate shows a genuine TPM of a configured root; the inventory says whose it is;
//! credential activation shows that this very TPM holds EK and AK together. All three are needed.

mod declared;
mod endorsements;

use subtle::ConstantTimeEq as _;
use touchstone_evidence::credential::{CredentialError, CredentialSecrets, make_credential};
use touchstone_evidence::digest::Sha256Digest;
use touchstone_evidence::encoded::Bytes;
use touchstone_evidence::endorsement::{EndorsementError, VerifiedEndorsement};
use touchstone_evidence::host_id::HostId;
use touchstone_evidence::identity::AttestationKey;
use touchstone_evidence::tpm::public::Public;
use touchstone_evidence::tpm::reader::TpmFormatError;
use touchstone_evidence::tpm::template::KeyTemplateError;
use touchstone_evidence::wire::{Activation, Enrolled, EnrolmentChallenge, EnrolmentRequest};
use zeroize::Zeroizing;

pub(crate) use declared::{DeclarationError, add_machine, create_join_token};
pub(crate) use endorsements::{Endorsements, Import, ImportError, import as import_endorsements};

use crate::appraisal::{self, Known, RoundError};
use crate::attestor::Attestor;
use crate::audit::{Actor, Entry, Event};
use crate::clock;
use crate::random::{self, NoRandomness};
use crate::store::{self, Endorsed, Identity, PendingEnrolment, StoreError};

/// Seconds between the two messages of an enrolment.
const ACTIVATION_SECONDS: i64 = 120;

/// Why a machine was not enrolled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolmentError {
    #[error("the {0} is malformed: {1}")]
    Malformed(&'static str, TpmFormatError),
    #[error("a key is not of the template that is demanded: {0}")]
    Template(#[from] KeyTemplateError),
    #[error("the endorsement is refused: {0}")]
    Endorsement(#[from] EndorsementError),
    #[error(
        "no machine of the inventory has the endorsement key {0}; add it with `touchstone inventory add`"
    )]
    NotInInventory(Sha256Digest),
    #[error("`{0}` is enrolled with other keys")]
    AlreadyEnrolled(String),
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
    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(..) => "key-malformed",
            Self::Template(_) => "key-template-mismatch",
            Self::Endorsement(error) => error.code(),
            Self::NotInInventory(_) => "ek-not-in-inventory",
            Self::AlreadyEnrolled(_) => "host-enrolled-with-other-keys",
            Self::EnrolmentUnknown => "enrolment-unknown",
            Self::ActivationFailed => "activation-failed",
            Self::OtherTlsKey => "activation-over-other-tls-key",
            Self::Credential(_) => "credential-not-possible",
            Self::Randomness(_) | Self::Store(_) | Self::Challenge(_) => "internal",
        }
    }
}

/// First message: checks the keys, and protects a secret for the TPM that claims them.
pub(crate) async fn begin(
    attestor: &Attestor,
    request: EnrolmentRequest,
    tls_key: Sha256Digest,
) -> Result<EnrolmentChallenge, EnrolmentError> {
    let now = clock::now();
    let parse = |what, bytes: &[u8]| {
        Public::parse(bytes).map_err(|error| EnrolmentError::Malformed(what, error))
    };
    let ek = parse("endorsement key", &request.ek_public)?;
    let ak = AttestationKey::under(&ek, parse("attestation key", &request.ak_public)?)?;
    // The cheap question first: only machines of the inventory cost a chain of signatures.
    let machine = in_inventory(attestor, &ek.spki_digest()).await?;
    let offered = (request.ek_certificate, request.intermediates.0);
    let endorsement = endorse(attestor, &ek, &machine, offered, now).await?;

    let identity = Identity {
        ek_digest: endorsement.ek_digest(),
        ek_public: request.ek_public,
        ak_public: request.ak_public,
        tls_key,
        root_class: endorsement.class(),
    };
    let mut tx = attestor.store.write().await?;
    let host = tx
        .machine_of(&identity.ek_digest)
        .await?
        .ok_or(EnrolmentError::NotInInventory(identity.ek_digest))?;
    if let Some(enrolled) = tx.host(&host).await?
        && enrolled.identity != identity
    {
        return Err(EnrolmentError::AlreadyEnrolled(host.to_string()));
    }
    let secrets = CredentialSecrets {
        secret: Zeroizing::new(random::bytes()?),
        seed: Zeroizing::new(random::bytes()?),
    };
    tx.forget_unmatched(&identity.ek_digest).await?;
    let credential = make_credential(&ek, &ak.public().name(), &secrets)?;
    let id: [u8; 16] = random::bytes()?;
    let pending = PendingEnrolment {
        host: host.clone(),
        secret_hash: Sha256Digest::of(&secrets.secret[..]),
        identity,
        endorsed: Endorsed {
            tpm: endorsement.tpm().clone(),
            root_key: endorsement.root_key_digest(),
        },
        expires_at: now.saturating_add(ACTIVATION_SECONDS),
    };
    tx.add_enrolment(&id, &pending, now).await?;
    tx.commit().await?;
    Ok(EnrolmentChallenge {
        enrolment: Bytes(id.to_vec()),
        host,
        credential: Bytes(credential.blob),
        encrypted_seed: Bytes(credential.encrypted_seed),
    })
}

/// Second message: the secret shows that one TPM holds both keys. An enrolment can be answered once;
/// a wrong answer burns it.
pub(crate) async fn activate(
    attestor: &Attestor,
    activation: Activation,
    tls_key: Sha256Digest,
) -> Result<Enrolled, EnrolmentError> {
    let secret = Zeroizing::new(activation.secret.0);
    let now = clock::now();
    let mut tx = attestor.store.write().await?;
    let pending = tx
        .take_enrolment(&activation.enrolment)
        .await?
        .filter(|pending| now < pending.expires_at);
    if let Err(refusal) = check_activation(pending.as_ref(), &secret, &tls_key) {
        // The burnt enrolment stays burnt.
        tx.commit().await?;
        return Err(refusal);
    }
    let Some(PendingEnrolment {
        host,
        identity,
        endorsed,
        ..
    }) = pending
    else {
        return Err(EnrolmentError::EnrolmentUnknown);
    };
    if tx.add_host(&host, &identity, &endorsed, now).await? {
        let event = Event::HostEnrolled {
            host: host.clone(),
            ek_digest: identity.ek_digest,
            ak: Sha256Digest::of(&identity.ak_public),
            tls_key: identity.tls_key,
            root_class: store::class_word(identity.root_class),
        };
        Entry::new(&event, Actor::JoinToken, now)?
            .append(&mut tx)
            .await?;
    } else if tx.host(&host).await?.map(|enrolled| enrolled.identity) != Some(identity) {
        // The same keys once more: the answer to the first activation was lost.
        return Err(EnrolmentError::AlreadyEnrolled(host.to_string()));
    }
    let challenge = appraisal::issue_challenge(&mut tx, &host, Known::default()).await?;
    tx.commit().await?;
    tracing::info!(host.id = %host, "enrolled a host");
    Ok(Enrolled { host, challenge })
}

async fn in_inventory(attestor: &Attestor, ek: &Sha256Digest) -> Result<HostId, EnrolmentError> {
    let mut tx = attestor.store.read().await?;
    let machine = tx.machine_of(ek).await?;
    machine.ok_or(EnrolmentError::NotInInventory(*ek))
}

/// Verifies the EK certificate with the intermediates that the host offers. Where no root is found, the
/// machine is remembered for the operator, who may want to import its maker's.
async fn endorse(
    attestor: &Attestor,
    ek: &Public,
    machine: &HostId,
    offered: (Bytes<8192>, Vec<Bytes<4096>>),
    now: i64,
) -> Result<VerifiedEndorsement, EnrolmentError> {
    let spki = ek.subject_public_key_info();
    let known = Endorsements::read(&mut attestor.store.read().await?).await?;
    let verified = tokio::task::spawn_blocking(move || {
        let (certificate, intermediates) = offered;
        let intermediates: Vec<&[u8]> = intermediates.iter().map(|der| &der[..]).collect();
        let roots = known.parse()?;
        Ok::<_, StoreError>(roots.verify(&certificate, &intermediates, &spki, now))
    })
    .await
    .map_err(|_| RoundError::Cancelled)??;
    if let Err(error) = &verified
        && let Some(authority) = error.missing_authority()
    {
        let mut tx = attestor.store.write().await?;
        tx.note_unmatched(&ek.spki_digest(), machine, error.code(), authority, now)
            .await?;
        tx.commit().await?;
    }
    Ok(verified?)
}

fn check_activation(
    pending: Option<&PendingEnrolment>,
    secret: &[u8],
    tls_key: &Sha256Digest,
) -> Result<(), EnrolmentError> {
    let pending = pending.ok_or(EnrolmentError::EnrolmentUnknown)?;
    let hash = Sha256Digest::of(secret);
    if !bool::from(hash.0.ct_eq(&pending.secret_hash.0)) {
        return Err(EnrolmentError::ActivationFailed);
    }
    if pending.identity.tls_key != *tls_key {
        return Err(EnrolmentError::OtherTlsKey);
    }
    Ok(())
}
